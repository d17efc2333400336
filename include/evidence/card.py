"""``card.html``: the evidence as one page that a person reads, on any screen, with no network at all."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from include.evidence import formatting
from include.evidence.pack import EvidencePack

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jinja2 import Environment

CAPTIONS = {
    "roc": "ROC: how many positives are found for how many false alarms, over all thresholds. Up and left is better.",
    "precision_recall": "Precision and recall, over all thresholds. Up and right is better.",
    "calibration": "Calibration: what was predicted against what came true. On the diagonal is best.",
    "scores": "Where the candidate's answers lie on the holdout.",
    "residuals": "Residuals: prediction less truth on the holdout. Narrow and around zero is better.",
    "importances": "Importance of features by permutation on the holdout; the lines are the spread over repeats.",
}
TITLES = {
    "roc": "ROC",
    "precision_recall": "Precision and recall",
    "calibration": "Calibration",
    "scores": "Answers",
    "residuals": "Residuals",
    "importances": "Importances",
}


def card_html(pack: EvidencePack, plots: Mapping[str, str]) -> bytes:
    """Return the page.

    Parameters
    ----------
    pack : EvidencePack
    plots : mapping of str to str
        What `draw` drew of the pack's card. A plot that is missing is said to be not measured.

    Returns
    -------
    bytes
        HTML that loads nothing: styles and plots are inside, and its own policy forbids the rest.
    """
    from markupsafe import Markup

    template = _environment().get_template("card.html.j2")
    page = template.render(
        pack=pack,
        declaration=pack.declaration,
        evaluation=pack.evaluation,
        metrics=formatting.metric_rows(pack.evaluation),
        features=formatting.feature_rows(pack.declaration.features),
        slices=formatting.slice_rows(pack.evaluation.slices),
        worst_slices=formatting.slice_rows(pack.evaluation.worst_slices),
        # Our own drawings, with every text in them escaped by Matplotlib; all else is escaped by Jinja.
        plots={name: Markup(svg) for name, svg in plots.items()},  # noqa: S704
        wanted=[name for name in _wanted(pack) if name in plots],
        missing=[TITLES[name] for name in _wanted(pack) if name not in plots],
        captions=CAPTIONS,
        titles=TITLES,
        style=Markup((Path(__file__).parent / "card.css").read_text(encoding="utf-8")),  # noqa: S704  # a file of ours
    )
    return page.encode()


def _wanted(pack: EvidencePack) -> tuple[str, ...]:
    if pack.declaration.task == "regression":
        return ("residuals", "scores", "importances")
    scores = ("scores",) if pack.declaration.task == "binary" else ()
    return ("roc", "precision_recall", "calibration", *scores, "importances")


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = formatting.number
    environment.filters["moment"] = formatting.moment
    environment.filters["short"] = formatting.short
    environment.filters["length_of"] = formatting.length
    return environment
