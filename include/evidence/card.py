"""``card.html``: the evidence as one page for people, on any screen, without a network."""

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
    "roc": "ROC: true positive rate and false positive rate at each threshold. Up and left is better.",
    "precision_recall": "Precision and recall at each threshold. Up and right is better.",
    "calibration": "Calibration: predicted probability and observed share. The diagonal is best.",
    "scores": "Distribution of the candidate's predictions on the holdout.",
    "residuals": "Residuals: prediction minus target on the holdout. Narrow and around zero is better.",
    "importances": "Permutation importance of features on the holdout. The lines show the spread over repeats.",
}
TITLES = {
    "roc": "ROC",
    "precision_recall": "Precision and recall",
    "calibration": "Calibration",
    "scores": "Predictions",
    "residuals": "Residuals",
    "importances": "Importances",
}


def card_html(pack: EvidencePack, plots: Mapping[str, str]) -> bytes:
    """Return the page.

    Parameters
    ----------
    pack : EvidencePack
    plots : mapping of str to str
        The result of `draw`. A missing plot is reported as not measured.

    Returns
    -------
    bytes
        HTML that loads nothing: styles and plots are included, and its Content-Security-Policy forbids everything else.
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
        # Our own plots; Matplotlib has escaped every text in them. Jinja escapes everything else.
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
