"""The values that pass through an onboarding: what a table is like, and what is proposed for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from include.spec import EntityKey, Feature, Task

EstimatorKind = Literal["boosting", "forest", "linear"]


@dataclass(frozen=True, slots=True)
class ProposalOptions:
    """What the user has decided; None: to be proposed.

    Attributes
    ----------
    key : tuple of str
        Columns that identify an entity together; empty: to be proposed.
    time_from_order : TimeFromOrder or None
        Makes an event time of the rows' order, in a table that has none.
    """

    task: Task | None = None
    target: str | None = None
    key: tuple[str, ...] = ()
    time: str | None = None
    time_from_order: TimeFromOrder | None = None


@dataclass(frozen=True, slots=True)
class TimeFromOrder:
    """Times for rows that have none: the first is at `start`, each further one a `step` later.

    Attributes
    ----------
    shuffled : bool
        Take the rows in an order that has nothing to do with their content, and is the same each time.
    """

    start: datetime
    step: timedelta
    shuffled: bool = False

    @property
    def seconds(self) -> str:
        """The step as an interval of PostgreSQL."""
        return f"interval '{self.step.total_seconds():.6f} seconds'".replace(".000000", "")


@dataclass(frozen=True, slots=True)
class ColumnProfile:
    """A column and exact statistics of all its values.

    Attributes
    ----------
    name, quoted : str
        As in the table, and as PostgreSQL quotes it.
    type : str
        The name of the type without length; of a domain that of the type beneath it; ``enum`` of any enumeration.
    nulls, distinct : int
        Rows without a value, and different values.
    distinct_single : int
        Of a number: different values in single precision.
    low, high : float or None
        Of a number: the smallest and the largest value that is finite in single precision.
    infinite : int
        Of a number: values that are not finite in single precision.
    whole : bool
        Of a number: whether all values are whole.
    values : mapping of str to int
        How often each value occurs, as text; only if there are few different ones.
    longest : int
        Of a text: the length of the longest value.
    """

    name: str
    quoted: str
    type: str
    nulls: int = 0
    distinct: int = 0
    distinct_single: int = 0
    low: float | None = None
    high: float | None = None
    infinite: int = 0
    whole: bool = False
    values: Mapping[str, int] = field(default_factory=dict)
    longest: int = 0


@dataclass(frozen=True, slots=True)
class TableProfile:
    """A table or view and its columns, in the table's order.

    Attributes
    ----------
    quoted : str
        The qualified name, quoted for SQL.
    primary_key : tuple of str
        The columns of the primary key, if there is one.
    """

    schema: str
    name: str
    quoted: str
    rows: int
    columns: tuple[ColumnProfile, ...]
    primary_key: tuple[str, ...] = ()

    def column(self, name: str) -> ColumnProfile:
        """Return a column by its name; KeyError if there is none."""
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(name)


@dataclass(frozen=True, slots=True)
class SourceColumn:
    """A column of ``features.sql``: its name there, and the SQL that gives it.

    Attributes
    ----------
    note : str
        What people should know of it; of a key, its type.
    column : str
        The column of the table, if it is one.
    """

    name: str
    sql: str
    note: str = ""
    column: str = ""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A column that is no feature, and why."""

    column: str
    reason: str


@dataclass(frozen=True, slots=True)
class Roles:
    """What the columns are: key, event time, target and features; the part of a proposal that needs no period.

    Attributes
    ----------
    table_sql : str
        What ``features.sql`` selects from.
    features : tuple of (Feature, SourceColumn)
    findings : tuple of str
        What was found and decided, one line each.
    """

    key: EntityKey
    key_sql: SourceColumn
    unique_key: bool
    time: SourceColumn
    table_sql: str
    common_table: str
    task: Task
    target: SourceColumn
    classes: tuple[str, ...]
    features: tuple[tuple[Feature, SourceColumn], ...]
    left_out: tuple[LeftOut, ...]
    findings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Density:
    """How the rows lie in time.

    Attributes
    ----------
    oldest, newest, border : datetime
        Of the labelled rows that the window may have: the first, the last, and that after which a fifth of them lies.
    rows_by_hour : mapping of datetime to int
        Rows in each hour (UTC) that has any, labelled or not.
    """

    oldest: datetime
    newest: datetime
    border: datetime
    rows_by_hour: Mapping[datetime, int]


@dataclass(frozen=True, slots=True)
class Window:
    """Lengths of the training and holdout periods, and the day on which they end."""

    train: timedelta
    holdout: timedelta
    end: datetime


@dataclass(frozen=True, slots=True)
class Schedule:
    """The partitions of scores.

    Attributes
    ----------
    cron, description : str
        The schedule, and how people say it.
    low, high : int
        The smallest and the largest number of rows of a partition, empty ones included.
    """

    cron: str
    description: str
    low: int
    high: int


@dataclass(frozen=True, slots=True)
class PartCounts:
    """Rows of the window: all, and the labelled ones of its two parts, in total and by class."""

    all_rows: int
    train: int
    holdout: int
    train_by_class: Mapping[str, int]
    holdout_by_class: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Proposal:
    """All that is written into ``spec.py`` and ``features.sql``."""

    model: str
    source: str
    command: str
    roles: Roles
    window: Window
    schedule: Schedule
    counts: PartCounts
    freshness: timedelta
    retrain: str | None
    estimator: EstimatorKind
    calibration_error: float | None = None
