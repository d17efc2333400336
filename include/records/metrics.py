"""Figures with their uncertainty: what an evaluation is made of."""

from __future__ import annotations

from pydantic import AwareDatetime, Field

from include.records.base import Record


class Interval(Record):
    """The confidence interval of one figure, at the evaluation's level."""

    low: float
    high: float


class Difference(Record):
    """The paired difference of one metric on the same rows: candidate less rival, with its uncertainty.

    Parameters
    ----------
    value, low, high : float
        In the metric's own direction: of a loss, negative is better. The interval is two-sided, at
        the evaluation's level.
    error : float
        Standard error; 0 when both gave the same answers.
    freedom : int or None
        Degrees of freedom of the t distribution that bounds are taken from; None: the normal one.
    method : str
        ``delong``, ``delong by block`` or ``bootstrap by block``.
    """

    value: float
    low: float
    high: float
    error: float
    freedom: int | None = None
    method: str


class SliceMetric(Record):
    """One metric on one part of the holdout.

    `p_value` is one-sided: of a declared slice, that the candidate is no worse there than the
    champion; of a slice that was found, that it is no worse there than elsewhere (corrected for
    having looked many times). `low` and `high` are the candidate's interval.
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
    """How well a table of one feature's values alone predicts the target, on rows later than those it learned.

    ROC AUC for classes, R² for values: within the training period, and on the holdout.
    """

    feature: str
    training: float | None = None
    holdout: float | None = None


class DataChecks(Record):
    """What was seen of the rows that a candidate learned from and was judged on.

    Parameters
    ----------
    constant : dict of str to str
        Features with a single value, and where: ``training``, ``holdout`` or both.
    strengths : tuple of FeatureStrength
        The strongest first.
    newest : datetime
        Event time of the newest holdout row.
    served_rows : int
        How many rows were asked for again as scoring asks.
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
