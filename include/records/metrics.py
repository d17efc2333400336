"""The parts of an evaluation: metrics with their uncertainty, slices, groups and checks of the rows."""

from __future__ import annotations

from pydantic import AwareDatetime, Field

from include.records.base import Record


class Interval(Record):
    """The confidence interval of one metric, at the evaluation's confidence level."""

    low: float
    high: float


class Difference(Record):
    """The paired difference of one metric on the same rows: candidate minus the other model, with its uncertainty.

    Parameters
    ----------
    value, low, high : float
        In the metric's own direction: for a loss, a negative difference is better. The interval is two-sided, at the
        evaluation's confidence level.
    standard_error : float
        0 when both gave the same predictions.
    degrees_of_freedom : int or None
        Of the t distribution of the confidence bounds; None: the normal distribution.
    method : str
        ``delong``, ``delong by block`` or ``bootstrap by block``.
    """

    value: float
    low: float
    high: float
    standard_error: float
    degrees_of_freedom: int | None = None
    method: str


class SliceMetric(Record):
    """One metric on one part of the holdout.

    `p_value` is one-sided. Of a declared slice, the hypothesis is that the candidate is no worse there
    than the champion; of a slice that was found, that it is no worse there than elsewhere (corrected for
    multiple testing). `low` and `high` are the candidate's interval.
    """

    name: str
    features: tuple[str, ...]
    rows: int
    metric: str
    candidate: float
    low: float | None = None
    high: float | None = None
    champion: float | None = None
    difference: Difference | None = None
    elsewhere: float | None = None
    p_value: float | None = None


class GroupRates(Record):
    """The rates of a binary model in one group, at the threshold of its F1; a rate of no rows is None."""

    feature: str
    group: str
    rows: int
    selection_rate: float
    error_rate: float
    true_positive_rate: float | None = None
    false_positive_rate: float | None = None


class FeatureStrength(Record):
    """How well a table of one feature's values predicts the target, on rows later than those it was learned from.

    ROC AUC for classes, the squared correlation for values. A constant has 0.5 and 0, and nothing has less.

    Parameters
    ----------
    training, training_low : float or None
        On the weakest of four windows within the training period, and its lower 95% confidence bound; None if it could
        not be measured.
    holdout, holdout_low : float or None
        On the holdout, and its lower 95% confidence bound.
    """

    feature: str
    training: float | None = None
    training_low: float | None = None
    holdout: float | None = None
    holdout_low: float | None = None


class DataChecks(Record):
    """Checks of the training and holdout rows of a candidate.

    Parameters
    ----------
    constant : dict of str to str
        Features with a single value, and in which rows: ``training``, ``holdout`` or both.
    strengths : tuple of FeatureStrength
        The strongest first.
    newest : datetime
        Event time of the newest holdout row.
    served_rows : int
        How many rows were read again as scoring reads them.
    served_differences : dict of str to float
        Features that then differed, with the share of rows.
    served_note : str or None
        Why the comparison could not be made.
    """

    features: tuple[str, ...] = ()
    constant: dict[str, str] = Field(default_factory=dict)
    strengths: tuple[FeatureStrength, ...] = ()
    newest: AwareDatetime | None = None
    served_rows: int = 0
    served_differences: dict[str, float] = Field(default_factory=dict)
    served_note: str | None = None
