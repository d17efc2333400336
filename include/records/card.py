"""The curves of a model card. They are a file in the run's folder, since they are too large to pass between tasks."""

from __future__ import annotations

from pydantic import Field

from include.records.base import Record

CARD_DATA = "card_data.json"


class Curve(Record):
    """A line to draw: at most 200 points, in order."""

    x: tuple[float, ...]
    y: tuple[float, ...]


class Bin(Record):
    """One bar of a histogram, or one point of a reliability diagram.

    In a reliability diagram `predicted` is the mean probability in the bin, and `observed` the share of its rows in
    which the event occurred. Of a regression, they are the mean prediction and the mean target.
    """

    low: float
    high: float
    rows: int
    predicted: float | None = None
    observed: float | None = None


class Importance(Record):
    """How much worse the loss becomes when one feature is shuffled: mean and spread over the repeats."""

    feature: str
    mean: float
    spread: float


class CardData(Record):
    """Curves and histograms on the holdout, by model: ``candidate``, ``champion``, ``baseline``.

    Parameters
    ----------
    roc, precision_recall : dict of str to Curve
        Of a binary model; of a multiclass one, keys are ``candidate: <class>`` for each class.
    calibration : dict of str to tuple of Bin
        Fifteen bins with equal numbers of rows. Of a multiclass model: of the probability of the predicted class; of a
        regression: of the prediction.
    confusion : tuple of tuple of int
        Of a classification: for each true class, the number of rows by the label that the candidate gives them, in the
        order of the classes. The labels are those that are served.
    scores : tuple of Bin
        Histogram of the candidate's probability of the positive class, or of its values.
    residuals : dict of str to tuple of Bin
        Histograms of prediction less truth, of a regression.
    importances : tuple of Importance
        By permutation, the largest first; in units of `importance_loss`.
    """

    model: str
    roc: dict[str, Curve] = Field(default_factory=dict)
    precision_recall: dict[str, Curve] = Field(default_factory=dict)
    calibration: dict[str, tuple[Bin, ...]] = Field(default_factory=dict)
    confusion: tuple[tuple[int, ...], ...] = ()
    scores: tuple[Bin, ...] = ()
    residuals: dict[str, tuple[Bin, ...]] = Field(default_factory=dict)
    importances: tuple[Importance, ...] = ()
    importance_loss: str = ""
    importance_rows: int = 0
