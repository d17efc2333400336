"""The Data Docs page of one validation: every check with its result, as one file that needs no network to be read."""

from __future__ import annotations

import re
from collections.abc import Container
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from include.pages import page_templates
from include.records import CheckResult, ValidationReport
from include.spec.base import IDENTIFIER

if TYPE_CHECKING:
    from jinja2 import Environment

_RUN: Final = re.compile(r"[^A-Za-z0-9._-]+")
_PURPOSES: Final = {"train": "rows to train on", "score": "rows to score"}


class Section(NamedTuple):
    """The checks of one column or, without a name, of the whole table."""

    column: str | None
    checks: list[tuple[CheckResult, bool]]  # with whether Great Expectations made it, too


def run_folder(docs_dir: Path, model: str, run_id: str) -> Path:
    """Return the folder with the pages of a run: ``<model>/<run>``."""
    return docs_dir / model / (_RUN.sub("_", run_id).lstrip(".") or "run")


def run_pages(docs_dir: Path, model: str, run_id: str) -> list[str]:
    """Return the names of the pages of a run, oldest period first; none if the model's name is not one."""
    if not re.fullmatch(IDENTIFIER, model):
        return []
    return sorted(each.name for each in run_folder(docs_dir, model, run_id).glob("*.html"))


def read_page(docs_dir: Path, model: str, run_id: str, page: str) -> str | None:
    """Return a page of a run, None if there is no such page."""
    if page not in run_pages(docs_dir, model, run_id):
        return None
    return (run_folder(docs_dir, model, run_id) / page).read_text(encoding="utf-8")


def page_path(docs_dir: Path, report: ValidationReport) -> Path:
    """Return where the page of `report` belongs: ``<model>/<run>/<purpose>_<start of the period>.html``."""
    folder = run_folder(docs_dir, report.model, report.run_id)
    return folder / f"{report.purpose}_{report.period.start:%Y%m%dT%H%M}.html"


def write_page(path: Path, report: ValidationReport, by_expectations: Container[int]) -> None:
    """Write the page.

    Parameters
    ----------
    by_expectations : container of int
        The numbers of the checks that Great Expectations made, too.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    page = _templates().get_template("data_docs.html.j2")
    path.write_text(
        page.render(
            report=report,
            purpose=_PURPOSES[report.purpose],
            sections=_sections(report, by_expectations),
            unknown=report.unknown_categories,
        ),
        encoding="utf-8",
    )


def _sections(report: ValidationReport, by_expectations: Container[int]) -> list[Section]:
    """Return the checks by column, in the order of the contract."""
    sections: dict[str | None, Section] = {}
    for number, check in enumerate(report.checks):
        section = sections.setdefault(check.column, Section(check.column, []))
        section.checks.append((check, number in by_expectations))
    return list(sections.values())


@cache
def _templates() -> Environment:
    return page_templates(Path(__file__).parent)
