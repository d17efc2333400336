"""The Data Docs page of one validation: one file that needs no network to be read."""

from __future__ import annotations

import html
import re
from pathlib import Path

from include.records import ValidationReport

_REMOTE = re.compile(
    r"<script[^>]*\ssrc=\"https?:[^>]*>\s*</script>|<link[^>]*\shref=\"https?:[^>]*>|<img[^>]*\ssrc=\"https?:[^>]*>",
    re.IGNORECASE,
)
_REMOTE_STYLE = re.compile(r"url\('https?:[^)]*\)", re.IGNORECASE)
_NEWSLETTER = re.compile(r"<a[^>]*\shref=\"https?://greatexpectations\.io[^>]*>.*?</a>", re.IGNORECASE | re.DOTALL)
_STYLE = """<style>
body { font: 15px/1.5 system-ui, sans-serif; margin: 1.5rem auto; max-width: 75rem; padding: 0 1rem; color: #222 }
table { border-collapse: collapse; width: 100%; margin: .5rem 0 1.5rem }
td, th { border: 1px solid #ccc; padding: .3rem .6rem; text-align: left; vertical-align: top }
.sluice-failed { border-left: 4px solid #b00020; padding-left: 1rem }
.sluice-passed { border-left: 4px solid #1b7f3b; padding-left: 1rem }
.modal, .popover, .navbar-toggler { display: none }
</style>"""


def page_path(docs_dir: Path, report: ValidationReport) -> Path:
    """Return where the page of `report` belongs: ``<model>/<run>/<purpose>_<start of the period>.html``."""
    run = re.sub(r"[^A-Za-z0-9._-]+", "_", report.run_id) or "run"
    return docs_dir / report.model / run / f"{report.purpose}_{report.period.start:%Y%m%dT%H%M}.html"


def write_page(path: Path, report: ValidationReport, page: str | None, detailed: int) -> None:
    """Write the page that Great Expectations made, with our own summary above it.

    Parameters
    ----------
    page : str or None
        None when nothing could be checked because the query did not run; the summary stands alone then.
    detailed : int
        The number of checks on that page.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = "<html><head><meta charset='utf-8'></head><body></body></html>" if page is None else page
    whole = _NEWSLETTER.sub("", _REMOTE_STYLE.sub("none", _REMOTE.sub("", whole)))
    whole = whole.replace("</head>", f"{_STYLE}</head>", 1)
    summary = _summary(report, detailed)
    body = re.search(r"<body[^>]*>", whole)
    at = body.end() if body else 0
    path.write_text(whole[:at] + summary + whole[at:], encoding="utf-8")


def _summary(report: ValidationReport, detailed: int) -> str:
    failures = report.failures
    verdict = f"{len(failures)} of {len(report.checks)} checks failed" if failures else "every check passed"
    items = "".join(
        f"<tr><td>{html.escape(check.expectation)}</td><td>{html.escape(check.column or '')}</td>"
        f"<td>{html.escape(check.sentence)}</td><td>{check.failing_count:,}</td>"
        f"<td>{html.escape(', '.join(check.offending_keys))}</td></tr>"
        for check in failures
    )
    head = "<tr><th>Expectation</th><th>Column</th><th>What was found</th><th>Rows</th><th>Keys, up to 20</th></tr>"
    others = len(report.checks) - detailed
    note = f" {others:,} checks of names, types and counts of rows have no part of their own below." if others else ""
    table = f"<table>{head}{items}</table>" if failures else ""
    return (
        f"<section class='sluice-{'failed' if failures else 'passed'}'>"
        f"<h1>{html.escape(report.model)}: {verdict}</h1>"
        f"<p>Rows to {report.purpose} on, {html.escape(str(report.period))}; {report.rows:,} rows; "
        f"run {html.escape(report.run_id)}.{note}</p>{table}</section>"
    )
