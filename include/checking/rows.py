"""The rows of a training window compared with the declaration: numbers of rows, days, labels, and every column."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Final

import psycopg

from include.checking.places import Places
from include.checking.sample import RowCounts, fetch, newest_row
from include.errors import Finding, did_you_mean, near_name
from include.inference.feature_types.column_checks import Check
from include.records import Period, Split
from include.schedule import partition_containing
from include.spec import FeatureQuery, ModelSpec
from include.spec.gates import MinimumLabels
from include.training.snapshot import MIN_ROWS
from include.validation.contract import declared_columns, derive_checks
from include.warehouse.rows import bound_query

_LISTED: Final = 5
_MAX_PARTITIONS: Final = 500
_CONDITIONS_A_QUERY: Final = 400  # PostgreSQL allows 1,664 columns
_HINTS: Final[Mapping[str, str]] = {
    "expect_column_values_to_not_be_null": "Declare nullable=True if a null may occur, or fill it in features.sql.",
    "expect_column_values_to_be_between": "Correct the unit in features.sql, or minimum and maximum in spec.py.",
    "expect_column_values_to_be_in_set": "Declare the value, or correct it in features.sql.",
    "expect_column_values_to_be_unique": "A join of features.sql may repeat rows; or the key lacks a column.",
    "expect_compound_columns_to_be_unique": "A join of features.sql may repeat rows; or the key lacks a column.",
}


def check_counts(
    spec: ModelSpec, query: FeatureQuery, split: Split, counts: RowCounts, places: Places, url: str
) -> Iterator[Finding]:
    """Compare the numbers of rows in a window with the contract, the classes and the gates."""
    if not counts.rows:
        newest = newest_row(query, url)
        found = "none at all" if newest is None else f"none; the newest row is of {newest:%Y-%m-%d %H:%M} UTC"
        after = None if newest is None else (newest + timedelta(days=1)).date()
        hint = f"To check as of a time of your data: --as-of {after}." if after else "Load rows into the source."
        yield places.field(("window",), f"expected rows from {split.whole}; found {found}", hint)
        return
    yield from _numbers_of_rows(spec, split, counts, places)
    if spec.target.classes:
        yield from _labels(spec, counts, places)
    yield from _partitions(spec, split, counts, places)


def _numbers_of_rows(spec: ModelSpec, split: Split, counts: RowCounts, places: Places) -> Iterator[Finding]:
    low, high = spec.contract.training_rows
    if not low <= counts.rows <= high:
        sentence = f"expected {low:,} to {high:,} rows in the training window; found {counts.rows:,}"
        yield places.field(("contract", "training_rows"), sentence, "Correct the limits, or the window.")
    for part, name, period in (("train", "train", split.train), ("holdout", "holdout", split.holdout)):
        rows = sum(counts.labelled(part).values())  # type: ignore[arg-type]  # both are parts
        if rows < MIN_ROWS:
            sentence = f"expected at least {MIN_ROWS} labelled rows from {period}; found {rows}"
            hint = "Load rows of this period, or change the window; label_delay says when labels are known."
            yield places.field(("window", name), sentence, hint)
    oldest = None if spec.contract.freshness is None else split.whole.end - spec.contract.freshness
    if oldest is not None and counts.newest is not None and counts.newest < oldest:
        newest = counts.newest.astimezone(UTC)
        sentence = f"expected a newest row no older than {oldest:%Y-%m-%d %H:%M} UTC; found {newest:%Y-%m-%d %H:%M} UTC"
        yield places.field(("contract", "freshness"), sentence, "Load newer rows, or allow older ones.")


def _labels(spec: ModelSpec, counts: RowCounts, places: Places) -> Iterator[Finding]:
    classes, train = spec.target.classes, counts.labelled("train")
    seen = {**train, **counts.labelled("holdout"), **counts.labelled("gap")}
    unknown = [label for label in seen if label not in classes]
    if unknown:
        listed = ", ".join(f"'{label}'" for label in sorted(unknown)[:_LISTED])
        sentence = f"expected one of the classes {', '.join(classes)}; found {listed}"
        hint = did_you_mean(unknown[0], classes) or "Declare the class, or return null for rows without a valid label."
        yield places.field(("target", "classes"), sentence, hint, feature=spec.target.column)
    missing = [label for label in classes if label not in train]
    if missing and train and not all(near_name(label, unknown) for label in missing):
        found = ", ".join(f"'{label}'" for label in sorted(train)[:_LISTED])
        sentence = f"expected training rows of every class; found none of {', '.join(missing)} (found {found})"
        hint = did_you_mean(missing[0], train) or "Lengthen window.train, or correct the target in features.sql."
        yield places.field(("target", "classes"), sentence, hint, feature=spec.target.column)
    if not unknown:
        yield from _labels_for_the_gate(spec, counts, places)


def _labels_for_the_gate(spec: ModelSpec, counts: RowCounts, places: Places) -> Iterator[Finding]:
    """Warn of a holdout with fewer labels than the gate will want."""
    gate = next(each for each in spec.policy if isinstance(each, MinimumLabels))
    path = ("gates", spec.gates.index(gate)) if gate in spec.gates else ("window", "holdout")
    found = {label: counts.labelled("holdout").get(label, 0) for label in spec.target.classes}
    few = [f"{rows:,} of {label}" for label, rows in found.items() if rows < (gate.per_class or 0)]
    if sum(found.values()) < gate.rows or few:
        shown = ", ".join(few) or f"{sum(found.values()):,}"
        sentence = f"expected a holdout that the gate minimum_labels accepts ({gate.requirement}); found {shown}"
        yield places.field(path, sentence, "Lengthen window.holdout, or change the gate.", severity="warning")


def _partitions(spec: ModelSpec, split: Split, counts: RowCounts, places: Places) -> Iterator[Finding]:
    """Compare the rows of each partition with the contract; of partitions shorter than a day, only each day."""
    low, high = spec.contract.partition_rows
    unit, by_start = _rows_by_partition(spec, counts)
    first, last = min(counts.days), max(counts.days)
    before = (first - split.train.start.date()).days
    if before > 1 and before * 10 > (split.whole.end - split.whole.start).days:
        sentence = (
            f"expected rows from the start of the window, {split.train.start:%Y-%m-%d}; found none before {first}"
        )
        yield places.field(("window", "train"), sentence, "Shorten the window, or load older rows.", severity="warning")
    path = ("contract", "partition_rows")
    empty = [start for start, rows in by_start.items() if not rows]
    if empty and low > 0:
        shown = ", ".join(f"{start} ({start:%A})" for start in empty[:_LISTED])
        more = f" and {len(empty) - _LISTED} more" if len(empty) > _LISTED else ""
        sentence = (
            f"expected rows in every {unit} from {first} to {last}; found none in {len(empty)} of {len(by_start)}: "
            f"{shown}{more}"
        )
        hint = "The score of a partition without rows fails; declare a minimum of 0 if it may be empty."
        yield places.field(path, sentence, hint, severity="warning")
    outside = {start: rows for start, rows in by_start.items() if rows and not low <= rows <= high}
    if outside and unit == "partition":
        start, rows = max(outside.items(), key=lambda each: each[1])
        most = len(outside) * 2 >= len(by_start)
        sentence = (
            f"expected {low:,} to {high:,} rows in every partition; found another number in {len(outside)} of "
            f"{len(by_start)}, such as {rows:,} in that of {start}"
        )
        yield places.field(path, sentence, "Correct the limits.", severity="error" if most else "warning")


def _rows_by_partition(spec: ModelSpec, counts: RowCounts) -> tuple[str, dict[date, int]]:
    """Return the rows of each partition between the first and the last with rows, by the day on which it starts.

    Rows are counted by UTC day. What is returned are days, where a partition is shorter or starts within a day.
    """
    first, last = min(counts.days), max(counts.days)
    period = _partition_at(spec, Period.of_day(first).start)
    if period.end - period.start < timedelta(hours=26):
        every = (first + timedelta(days=each) for each in range((last - first).days + 1))
        unit = "partition" if period == Period.of_day(first) else "day"
        return unit, {day: counts.days.get(day, 0) for day in every}
    found: dict[date, int] = {}
    for _ in range(_MAX_PARTITIONS):
        # The window may hold only a part of the first and of the last one.
        if period.end.date() > last:
            break
        if period.start.date() >= first:
            days = (period.start.date() + timedelta(days=each) for each in range((period.end - period.start).days))
            found[period.start.date()] = sum(counts.days.get(day, 0) for day in days)
        period = _partition_at(spec, period.end)
    return "partition", found


def _partition_at(spec: ModelSpec, moment: datetime) -> Period:
    return partition_containing(spec.score_schedule, moment, timezone=spec.score_timezone)


def check_columns_of_rows(
    spec: ModelSpec,
    sampled: FeatureQuery,
    split: Split,
    types: Mapping[str, str],
    places: Places,
    url: str,
) -> Iterator[Finding]:
    """Compare the values of a sample with what the declaration says of each column.

    Raises
    ------
    psycopg.Error
        When the query fails on a row, such as a division by zero.
    """
    checks = [
        check
        for check in derive_checks(spec, sampled, split.whole, "train", types)
        if check.failing is not None and check.column not in (None, spec.target.column)
    ]
    rows, failing = _count_failing(sampled, checks, url)
    for check, count in zip(checks, failing, strict=True):
        if count:
            assert check.column is not None  # noqa: S101  # chosen above
            values = _values(sampled, check, url)
            sentence = f"expected {check.rule}; found {count:,} of {rows:,} sampled rows otherwise{values}"
            yield places.column(spec, check.column, sentence, _HINTS.get(check.expectation, ""))


def check_newest_partition(
    spec: ModelSpec, query: FeatureQuery, counts: RowCounts, types: Mapping[str, str], places: Places, url: str
) -> Iterator[Finding]:
    """Compare the keys of the newest partition with the rule that each occurs once in it; in a window they may repeat.

    Raises
    ------
    psycopg.Error
    """
    period = _partition_at(spec, Period.of_day(max(counts.days)).start)
    rows_of = replace(query, text=bound_query(query, period))
    checks = [
        check
        for check in derive_checks(spec, rows_of, period, "score", types)
        if check.expectation == "expect_column_values_to_be_unique"
    ]
    rows, (failing,) = _count_failing(rows_of, checks, url)
    if failing:
        sentence = (
            f"expected {checks[0].rule} in a partition; found {failing:,} of {rows:,} rows of {period} with a key that "
            f"others have{_values(rows_of, checks[0], url)}"
        )
        hint = _HINTS[checks[0].expectation]
        yield places.column(spec, query.entity_key.column, sentence, hint)


def _count_failing(sampled: FeatureQuery, checks: Sequence[Check], url: str) -> tuple[int, list[int]]:
    """Return the number of rows of a sample, and of those that break each check."""
    rows, counts = 0, []
    for first in range(0, max(1, len(checks)), _CONDITIONS_A_QUERY):
        conditions = [_condition(check) for check in checks[first : first + _CONDITIONS_A_QUERY]]
        columns = ", ".join(["count(*)", *(f"count(*) FILTER (WHERE {condition})" for condition in conditions)])
        ((total, *some),) = fetch(url, f"{_with_rows(sampled)} SELECT {columns} FROM sampled")
        rows = int(total)
        counts += [int(each) for each in some]
    return rows, counts


def _values(sampled: FeatureQuery, check: Check, url: str) -> str:
    """Return the values that break a check: the two ends of numbers and times, or the most frequent ones."""
    if check.expectation == "expect_column_values_to_not_be_null":
        return ""
    if check.expectation == "expect_column_values_to_be_between":
        ends = f'min("{check.column}")::text, max("{check.column}")::text'
        ((low, high),) = fetch(url, f"{_with_rows(sampled)} SELECT {ends} FROM sampled WHERE {_condition(check)}")
        return f", from {low} to {high}"
    statement = (
        f'{_with_rows(sampled)} SELECT "{check.column}"::text, count(*) FROM sampled WHERE {_condition(check)} '
        f"GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT {_LISTED}"
    )
    found = fetch(url, statement)
    return ": " + ", ".join(f"{'null' if value is None else value} ({rows:,})" for value, rows in found)


def _with_rows(sampled: FeatureQuery) -> str:
    return f"WITH sampled AS MATERIALIZED (\n{sampled.text}\n)"


def _condition(check: Check) -> str:
    return (check.failing or "").replace("{table}", "sampled")


def failed_on_a_row(query: FeatureQuery, split: Split, error: psycopg.Error, places: Places, url: str) -> list[Finding]:
    """Return the findings of a query that PostgreSQL plans, and that fails on some row: one for each column at fault.

    Each column is read alone: what is not read is not computed.
    """
    findings = []
    for column in declared_columns(query, "train"):
        statement = f'SELECT count("{column.name}") FROM (\n{bound_query(query, split.whole)}\n) AS rows'
        try:
            fetch(url, statement)
        except psycopg.Error as found:
            sentence = f"expected a value in every row; found that computing it fails: {_said(found)}"
            hint = "Return null for such a row, as nullif(divisor, 0) does."
            findings.append(places.query_column(query.text, column.name, sentence, hint))
    if findings:
        return findings
    return [places.query(query.text, None, f"expected a query that runs to its end; found: {_said(error)}")]


def _said(error: psycopg.Error) -> str:
    return (error.diag.message_primary or str(error)).splitlines()[0]
