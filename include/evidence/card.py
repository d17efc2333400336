"""``card.html``: the evidence as one page for people, on any screen, without a network."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from include.evidence import formatting
from include.evidence.pack import EvidencePack
from include.pages import page_templates
from include.records import Promotion, PromotionHold

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jinja2 import Environment

CAPTIONS = {
    "roc": "ROC: true positive rate and false positive rate at each threshold. Up and left is better.",
    "precision_recall": "Precision and recall at each threshold. Up and right is better.",
    "calibration": "Calibration: predicted probability and observed share. The diagonal is best.",
    "predicted_observed": "Prediction and mean target, in 15 groups with equal numbers of rows. The diagonal is best.",
    "scores": "Distribution of the candidate's predictions on the holdout.",
    "residuals": "Residuals: prediction minus target on the holdout. Narrow and around zero is better.",
    "importances": "Permutation importance: how much worse the loss is when a feature is shuffled. Lines: the spread.",
}
MAX_FEATURES = 30  # more are folded
TITLES = {
    "roc": "ROC",
    "precision_recall": "Precision and recall",
    "calibration": "Calibration",
    "predicted_observed": "Predicted and observed",
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
        max_features=MAX_FEATURES,
        confusion=formatting.confusion_rows(pack.declaration.classes, pack.card.confusion) if pack.card else [],
        slices=formatting.slice_rows(pack.evaluation.slices),
        worst_slices=formatting.slice_rows(pack.evaluation.worst_slices),
        # Our own plots; Matplotlib has escaped every text in them. Jinja escapes everything else.
        plots={name: Markup(svg) for name, svg in plots.items()},  # noqa: S704
        wanted=[name for name in _wanted(pack) if name in plots],
        missing=[TITLES[name] for name in _wanted(pack) if name not in plots],
        captions=CAPTIONS,
        titles=TITLES,
    )
    return page.encode()


def with_status(card: bytes, status: str) -> bytes:
    """Return a card with a line at its top that says what the version is today.

    The card itself never changes: it is part of the signed artifact.
    """
    from markupsafe import escape

    line = f'<main>\n<p class="status">{escape(status)}</p>'
    return card.replace(b"<main>", line.encode(), 1)


def champion_status(version: int, promotions: Sequence[Promotion], hold: PromotionHold | None = None) -> str:
    """Return whether a version is the champion now, and whether promotions are held, as sentences.

    Parameters
    ----------
    promotions : sequence of Promotion
        All of the model, oldest first.
    hold : PromotionHold, optional
        The hold of the model's promotions that is in force.
    """
    status = _champion_status(version, promotions)
    return f"{status} {hold.sentence}: no retrain promotes a version." if hold else status


def _champion_status(version: int, promotions: Sequence[Promotion]) -> str:
    if not promotions:
        return f"Version {version} is not the champion: no version of this model was promoted yet."
    now = promotions[-1]
    since = f"since {now.promoted_at:%Y-%m-%d %H:%M} UTC"
    if now.to_version == version:
        return f"Version {version} is the champion {since}, promoted by {now.actor}."
    turns = [later for each, later in pairwise(promotions) if each.to_version == version]
    before = f"It was until {turns[-1].promoted_at:%Y-%m-%d %H:%M} UTC. " if turns else "It never was. "
    return f"Version {version} is not the champion. {before}Version {now.to_version} is, {since}."


def _wanted(pack: EvidencePack) -> tuple[str, ...]:
    if pack.declaration.task == "regression":
        return ("predicted_observed", "residuals", "scores", "importances")
    scores = ("scores",) if pack.declaration.task == "binary" else ()
    return ("roc", "precision_recall", "calibration", *scores, "importances")


@cache
def _environment() -> Environment:
    environment = page_templates(Path(__file__).parent)
    environment.filters["number"] = formatting.number
    environment.filters["moment"] = formatting.moment
    environment.filters["short"] = formatting.short
    environment.filters["length_of"] = formatting.length
    return environment
