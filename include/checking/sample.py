"""A bounded sample of the rows of a training window: some thousand rows, whatever the size of the table.

The rows are counted by day and class first, so that each class and both parts of the window are in the sample. Where
that takes too long, rows of single days are read instead, and nothing is said of the whole window.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final, Literal

import psycopg
import pyarrow as pa
from psycopg.sql import quote

from include.records import Period, Split
from include.sessions import SESSION_STATEMENT, libpq_url
from include.spec import FeatureQuery, ModelSpec
from include.warehouse.rows import bound_query, open_rows, rows_query

Part = Literal["train", "gap", "holdout"]

SAMPLE_ROWS: Final = 4_000
MIN_GROUP_ROWS: Final = 100
"""Rows of each class in each part of the window, where it has so many."""
MAX_GROUPS: Final = 100
DAYS_READ: Final = 6
"""Days of which rows are read where all rows cannot be counted."""
_TIMED_OUT: Final = "57014"


@dataclass(frozen=True, slots=True)
class RowCounts:
    """How the rows of a window lie: by part and label, and by day.

    Attributes
    ----------
    labels : mapping of tuple to int
        The rows of each part and label; the label None is a null. A value of a regression has the label ``""``.
    days : mapping of date to int
        The rows of each UTC day that has any.
    newest : datetime or None
    """

    labels: Mapping[tuple[Part, str | None], int] = field(default_factory=dict)
    days: Mapping[date, int] = field(default_factory=dict)
    newest: datetime | None = None

    @property
    def rows(self) -> int:
        """All rows, with or without a label."""
        return sum(self.labels.values())

    def labelled(self, part: Part) -> dict[str, int]:
        """Return the rows of each label in a part."""
        return {label: rows for (where, label), rows in self.labels.items() if where == part and label is not None}


def count_rows(spec: ModelSpec, query: FeatureQuery, split: Split, url: str) -> RowCounts | None:
    """Count the rows of a window by part, label and day; None if it takes too long.

    Raises
    ------
    psycopg.Error
        When the query fails in the middle.
    """
    time, label = f'"{query.event_time}"', f'"{spec.target.column}"'
    shown = f"{label}::text" if spec.target.classes else f"CASE WHEN {label} IS NOT NULL THEN '' END"
    statement = (
        f"SELECT CASE WHEN {time} < {_literal(split.train.end)} THEN 'train' "
        f"WHEN {time} < {_literal(split.holdout.start)} THEN 'gap' ELSE 'holdout' END, {shown}, "
        f"({time} AT TIME ZONE 'UTC')::date, count(*), max({time}) "
        f"FROM (\n{bound_query(query, split.whole)}\n) AS rows WHERE {time} IS NOT NULL GROUP BY 1, 2, 3"
    )
    try:
        found = fetch(url, statement)
    except psycopg.errors.QueryCanceled:
        return None
    labels: Counter[tuple[Part, str | None]] = Counter()
    days: Counter[date] = Counter()
    for part, each, day, rows, _ in found:
        labels[part, each] += rows
        days[day] += rows
    newest = max((row[4] for row in found), default=None)
    return RowCounts(labels, days, newest)


def extrapolate_rows(query: FeatureQuery, split: Split, url: str) -> int:
    """Return about how many rows a window has, by those of the days that are read where all cannot be counted."""
    days = list(_days_of(split))
    parts = (f"SELECT count(*) AS rows FROM (\n{bound_query(query, day)}\n) AS day" for day in days)
    ((rows,),) = fetch(url, f"SELECT sum(rows) FROM ({' UNION ALL '.join(parts)}) AS days")
    read = sum((day.end - day.start for day in days), timedelta())
    length = split.whole.end - split.whole.start
    return round(float(rows) * (length / read))


def newest_row(query: FeatureQuery, url: str) -> datetime | None:
    """Return the time of the newest of all rows; None if there is none, or it takes too long to find."""
    ever = Period(start=datetime(1900, 1, 1, tzinfo=UTC), end=datetime(9998, 1, 1, tzinfo=UTC))
    try:
        ((newest,),) = fetch(url, f'SELECT max("{query.event_time}") FROM (\n{bound_query(query, ever)}\n) AS rows')
    except psycopg.Error:
        return None
    return None if newest is None else newest.astimezone(UTC)


def sampled_query(spec: ModelSpec, query: FeatureQuery, split: Split, counts: RowCounts | None) -> FeatureQuery:
    """Return a query for a sample of the window's rows, with the columns of `query`.

    All rows of a key are in it or none, so that a key that occurs twice is found.
    """
    if counts is None:
        periods = list(_days_of(split))
        each = -(-SAMPLE_ROWS // len(periods))
        parts = (f"(SELECT * FROM (\n{bound_query(query, day)}\n) AS rows LIMIT {each})" for day in periods)
        return replace(query, text=" UNION ALL ".join(parts))
    bound = bound_query(query, split.whole)
    if counts.rows <= SAMPLE_ROWS:
        return replace(query, text=bound)
    key = f'abs(hashtext("{query.entity_key.column}"::text)::bigint)'
    share = f"{key} % {_share_by_group(spec, query, split, counts)} = 0"
    return replace(
        query, text=f'SELECT * FROM (\n{bound}\n) AS rows WHERE "{query.entity_key.column}" IS NULL OR {share}'
    )


def read_labelled(query: FeatureQuery, period: Period, url: str) -> pa.Table:
    """Read the labelled rows of a sample as a training reads them."""
    with open_rows(url, rows_query(query, period, labelled=True)) as rows:
        return rows.read_all()


def fetch(url: str, statement: str) -> list[tuple[Any, ...]]:
    """Run a statement in a session that only reads, and return its rows.

    Raises
    ------
    psycopg.Error
    """
    with psycopg.connect(libpq_url(url)) as connection:
        connection.execute(SESSION_STATEMENT)
        connection.execute("SET LOCAL jit = off")  # compiling the conditions takes longer than running them once
        return connection.execute(statement.encode()).fetchall()


def _share_by_group(spec: ModelSpec, query: FeatureQuery, split: Split, counts: RowCounts) -> str:
    """Return the SQL expression of how many rows one row of the sample stands for."""
    usual = max(1, counts.rows // SAMPLE_ROWS)
    groups = [
        (part, label, rows // MIN_GROUP_ROWS)
        for (part, label), rows in counts.labels.items()
        if label is not None and rows // MIN_GROUP_ROWS < usual
    ]
    if not 0 < len(groups) <= MAX_GROUPS:
        return str(usual)
    label, time = f'"{spec.target.column}"::text', f'"{query.event_time}"'
    of_part = {
        "train": f"{time} < {_literal(split.train.end)}",
        "gap": f"{time} >= {_literal(split.train.end)} AND {time} < {_literal(split.holdout.start)}",
        "holdout": f"{time} >= {_literal(split.holdout.start)}",
    }
    cases = (
        f"WHEN {of_part[part]}"
        + (f" AND {label} = {quote(each)}" if spec.target.classes else "")
        + f" THEN {max(1, share)}"
        for part, each, share in groups
    )
    return f"(CASE {' '.join(cases)} ELSE {usual} END)"


def _days_of(split: Split) -> Iterator[Period]:
    """Yield days at even distances: most of the training period, and at least two of the holdout."""
    for period, count in ((split.train, DAYS_READ - 2), (split.holdout, 2)):
        length = min(timedelta(days=1), (period.end - period.start) / count)
        step = (period.end - period.start - length) / (count - 1)
        for number in range(count):
            start = period.start + number * step
            yield Period(start=start, end=start + length)


def _literal(moment: datetime) -> str:
    return f"TIMESTAMPTZ '{moment.astimezone(UTC).isoformat()}'"
