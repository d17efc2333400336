"""Which column is the key, the event time, the target and a feature: from a profile, without a database."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from include.errors import SourceTableError
from include.onboarding.names import identifier, identifiers, is_like_key, printable, target_rank, time_rank
from include.onboarding.reading import NUMBERS, TEXTS, TIMES
from include.onboarding.records import (
    ColumnProfile,
    LeftOut,
    ProposalOptions,
    Roles,
    SourceColumn,
    TableProfile,
    TimeFromOrder,
)
from include.spec import BOOLEAN_CLASSES, Boolean, Categorical, EntityKey, Feature, Numeric, Task

INTEGERS: Final = ("smallint", "integer", "bigint")
PLAIN_TEXTS: Final = ("text", "character varying", "character")
MAX_CATEGORIES: Final = 50
MAX_LEARNED: Final = 250
ROWS_A_CATEGORY: Final = 500
MAX_CLASSES: Final = 50
MAX_INTEGER_CLASSES: Final = 5
MIN_CLASS_ROWS: Final = 10
MAX_LABEL: Final = 100
MAX_CATEGORY_LENGTH: Final = 200
MAX_MERGED_SHARE: Final = 0.05
UNIT: Final = "(fill in)"
_LARGEST: Final = "3.4e38"
_MAX_BOUND: Final = 3.4e38
_SMALLEST_STEP: Final = 1e-30
_POSITIVE: Final = frozenset(
    (
        *("yes", "y", "true", "t", "1", "positive", "pos", "late", "died", "dead", "death", "bad", "churn", "churned"),
        *("default", "fraud", "spam", "malignant", "success"),
    )
)


@dataclass(frozen=True, slots=True)
class KeyCandidate:
    """Columns that may identify an entity; no columns: the event time does.

    Attributes
    ----------
    is_known : bool
        Whether the profile itself shows that no value occurs again; otherwise the database is asked.
    with_time : bool
        Whether a value may occur again at another time.
    joins_time : bool
        Whether the event time is a part of the key.
    """

    columns: tuple[str, ...]
    is_known: bool = False
    with_time: bool = False
    joins_time: bool = False


def resolve_names(table: TableProfile, options: ProposalOptions) -> ProposalOptions:
    """Return the options with the columns' names as the table has them: `--target sepal_length` is Sepal.Length, too.

    Raises
    ------
    SourceTableError
        When there is no such column.
    """
    return replace(
        options,
        target=None if options.target is None else _named(table, options.target, "--target").name,
        time=None if options.time is None else _named(table, options.time, "--time").name,
        key=tuple(_named(table, name, "--key").name for name in options.key),
    )


def choose_time(table: TableProfile, options: ProposalOptions, like_times: Sequence[str] = ()) -> SourceColumn | None:
    """Return the event time; None if it is to be made of the rows' order.

    Raises
    ------
    SourceTableError
        When there is none; the message says what to do.
    """
    if options.time_from_order is not None and options.time is None:
        return None
    if options.time is not None:
        return _time(table, _named(table, options.time, "--time"))
    found = [column for column in table.columns if column.type in TIMES and column.nulls < table.rows / 2]
    found = [column for column in found if column.distinct > 1 and column.name not in (options.target, *options.key)]
    if not found:
        raise SourceTableError(_no_time(table, like_times))
    return _time(
        table, min(found, key=lambda column: (time_rank(column.name), TIMES.index(column.type), column.nulls > 0))
    )


def key_candidates(table: TableProfile, options: ProposalOptions, time: str | None) -> list[KeyCandidate]:
    """Return what may identify a row, the best first.

    Parameters
    ----------
    time : str or None
        The column of the event time; None: it is made of the rows' order, so each key must occur once.
    """
    if options.key:
        columns = [_named(table, name, "--key") for name in options.key]
        names = tuple(column.name for column in columns)
        for column in columns:
            if column.nulls:
                raise SourceTableError(
                    f"{table.schema}.{table.name}: --key {column.name}: expected a value in every row; found null in "
                    f"{column.nulls:,}. Nothing was written. Name other columns, or correct the table."
                )
        both = [KeyCandidate(names), KeyCandidate(names, with_time=True)]
        return both if time is not None else both[:1]
    found = []
    if table.primary_key:
        without_time = tuple(name for name in table.primary_key if name != time)
        found.append(KeyCandidate(without_time, with_time=without_time != table.primary_key))
    usable = [column for column in table.columns if _may_be_key(column, table) and column.name != options.target]
    usable.sort(key=lambda column: (not is_like_key(column.name), column.type in INTEGERS))
    found += [
        KeyCandidate((column.name,), is_known=True)
        for column in usable
        if column.distinct == table.rows and (column.type not in INTEGERS or _is_identifier(column, table))
    ]
    if time is None:
        return found
    repeated = [column for column in usable if column.distinct < table.rows and column.distinct > 1]
    if table.column(time).distinct < table.rows:
        found += [
            KeyCandidate((column.name,), with_time=True)
            for column in sorted(repeated, key=lambda column: (not is_like_key(column.name), -column.distinct))
            if is_like_key(column.name) or column.type not in INTEGERS
        ]
    elif not table.column(time).nulls:
        found.append(KeyCandidate(()))
    return found


def key_expressions(table: TableProfile, candidate: KeyCandidate, time: SourceColumn | None) -> list[str]:
    """Return the SQL expressions that together must differ in every row."""
    key = _key(table, candidate, time, "row_key")[1].sql
    return [key, time.sql] if candidate.with_time and time is not None else [key]


def no_key(table: TableProfile, options: ProposalOptions) -> SourceTableError:
    """Return the error of a table without a key, with what there is to do."""
    if options.key:
        return SourceTableError(
            f"{table.schema}.{table.name}: --key {','.join(options.key)}: expected columns that differ in every "
            "row, or in every row of the same time; found rows with equal values. Nothing was written. Name more "
            "columns, such as --key customer,product, or remove duplicate rows."
        )
    candidates = [column.name for column in table.columns if column.type in (*INTEGERS, *TEXTS) and not column.nulls]
    named = f"; columns without nulls: {', '.join(map(printable, candidates[:8]))}" if candidates else ""
    return SourceTableError(
        f"{table.schema}.{table.name}: expected an entity key: a text or whole number that differs in every row, or in "
        f"every row of the same time; found none{named}. Nothing was written. Either name several columns that "
        "together differ (--key customer,product), or add a column: ALTER TABLE "
        f"{table.quoted} ADD COLUMN row_id bigint GENERATED ALWAYS AS IDENTITY. Of a file, --from-csv makes row_id."
    )


def propose_roles(
    table: TableProfile, options: ProposalOptions, time: SourceColumn | None, candidate: KeyCandidate
) -> Roles:
    """Return what each column is.

    Raises
    ------
    SourceTableError
        When there is no target, or no feature.
    """
    names = identifiers(column.name for column in table.columns)
    key, key_sql = _key(table, candidate, time, identifier("row_key", set(names.values())))
    is_made = len(candidate.columns) != 1 or candidate.joins_time
    key_column = None if is_made else table.column(candidate.columns[0])
    time_name = time.column if time else None
    findings = [f"key: {_describe_key(candidate, key)}"]
    common, source = "", table.quoted
    if time is None:
        order = options.time_from_order
        assert order is not None  # noqa: S101  # `choose_time` returns None only then
        time = SourceColumn(
            identifier("event_time", set(names.values())), identifier("event_time", set(names.values()))
        )
        common, source = _ordered(table, key_sql, time.name, order), "ordered"
        findings.append(f"event time: made of the order of {key.column}, as --time-from-order says")
    else:
        findings.append(f"event time: {time.name}" + (f" ({time.note})" if time.note else ""))
    taken = {name for name in (time_name, key_column.name if key_column else None) if name is not None}
    target_column, why = _choose_target(table, options, taken | set(candidate.columns))
    task, target, classes, target_note = _target(table, target_column, names[target_column.name], options.task)
    findings.append(f"target: {target.name} ({why})")
    findings.append(f"task: {task} ({target_note})")
    features, left_out = _features(table, names, taken | {target_column.name})
    if not features:
        reasons = "; ".join(f"{printable(each.column)}: {each.reason}" for each in left_out) or "there are no others"
        raise SourceTableError(
            f"{table.schema}.{table.name}: expected a column that can be a feature; found none ({reasons[:600]}). "
            "Nothing was written. Add columns to the table, or name another with --from-table."
        )
    return Roles(
        key=key,
        key_sql=key_sql,
        unique_key=not candidate.with_time,
        time=time,
        table_sql=source,
        common_table=common,
        task=task,
        target=target,
        classes=classes,
        features=tuple(features),
        left_out=tuple(left_out),
        findings=tuple(findings),
    )


def propose_feature(column: ColumnProfile, rows: int, name: str) -> tuple[Feature, SourceColumn] | str:
    """Return the feature of a column, or why it is none."""
    if column.nulls >= rows:
        return "null in every row"
    if column.distinct + (column.nulls > 0) <= 1 and column.type in (*NUMBERS, *TEXTS, "boolean"):
        return "the same value in every row"
    if column.type == "boolean":
        return Boolean(name=name, nullable=column.nulls > 0), SourceColumn(name, column.quoted)
    if column.type in NUMBERS:
        return _number(column, rows, name)
    if column.type in TEXTS:
        return _category(column, rows, name)
    if column.type in TIMES:
        return "a time; make a number of it in features.sql, such as extract(hour FROM ...) or a difference"
    return f"type {column.type} is no feature; derive a number, a boolean or a short text in features.sql"


def widened(low: float, high: float, *, whole: bool) -> tuple[float, float]:
    """Return round bounds about as far outside the values as these are spread; on the same side of zero."""
    span = max(high - low or abs(high) or 1.0, _SMALLEST_STEP)
    step = 10.0 ** math.floor(math.log10(span))
    if whole:
        step = max(step, 1.0)
    lower, upper = math.floor((low - span) / step) * step, math.ceil((high + span) / step) * step
    if low >= 0:
        lower = max(lower, 0.0)
    elif high <= 0:
        upper = min(upper, 0.0)
    shorter_lower, shorter_upper = float(f"{lower:.12g}"), float(f"{upper:.12g}")  # 0.3, not 0.30000000000000004
    lower = shorter_lower if shorter_lower <= low else min(lower, low)
    upper = shorter_upper if shorter_upper >= high else max(upper, high)
    return max(lower, -_MAX_BOUND), min(upper, _MAX_BOUND)


def _named(table: TableProfile, name: str, option: str) -> ColumnProfile:
    for column in table.columns:
        if column.name == name:
            return column
    alike = [column for column in table.columns if identifier(column.name) == identifier(name)]
    if len(alike) == 1:
        return alike[0]
    listed = ", ".join(printable(column.name) for column in table.columns[:30])
    raise SourceTableError(
        f"{table.schema}.{table.name}: {option} {name}: expected the name of a column; found none of this name. "
        f"Columns: {listed}{', ...' if len(table.columns) > 30 else ''}."
    )


# -- event time ------------------------------------------------------------------------------------


def _time(table: TableProfile, column: ColumnProfile) -> SourceColumn:
    name = identifiers(each.name for each in table.columns)[column.name]
    if column.type == "timestamp with time zone":
        return SourceColumn(name, column.quoted, column=column.name)
    if column.type == "timestamp without time zone":
        note = "a timestamp without a zone, read as UTC"
        return SourceColumn(name, f"{column.quoted} AT TIME ZONE 'UTC'", note, column.name)
    if column.type == "date":
        note = "a date, read as midnight in UTC"
        return SourceColumn(name, f"{column.quoted}::timestamp AT TIME ZONE 'UTC'", note, column.name)
    raise SourceTableError(
        f"{table.schema}.{table.name}: --time {column.name}: expected a timestamp or a date; found type {column.type}. "
        f"Nothing was written. Make it one: ALTER TABLE {table.quoted} ALTER COLUMN {column.quoted} TYPE timestamptz "
        f"USING {column.quoted}::timestamptz; or name another column."
    )


def _no_time(table: TableProfile, like_times: Sequence[str]) -> str:
    advice = "name a table or view that has one, or give times to the rows, one after the other in the order of the key"
    if like_times:
        column = table.column(like_times[0])
        advice = (
            f"column {printable(column.name)} looks like a time and is text: ALTER TABLE {table.quoted} ALTER COLUMN "
            f"{column.quoted} TYPE timestamptz USING {column.quoted}::timestamptz; or {advice}"
        )
    return (
        f"{table.schema}.{table.name}: expected an event time, a timestamp or a date that half of the rows have; found "
        "none. A model is trained on older rows and evaluated on later ones, and scores are made for a period. Nothing "
        f"was written. Either {advice}: --time-from-order 2026-01-01/1h."
    )


def _ordered(table: TableProfile, key: SourceColumn, name: str, order: TimeFromOrder) -> str:
    by = key.sql + ("" if key.note == "bigint" else ' COLLATE "C"')
    if order.shuffled:
        by = f'md5({key.sql}::text) COLLATE "C"'
    words = "an order that means nothing" if order.shuffled else "the order of the key"
    made = f"TIMESTAMPTZ '{order.start.isoformat()}'\n               + (row_number() OVER (ORDER BY {by}) - 1)"
    rows = f"    SELECT *,\n           {made} * {order.seconds} AS {name}\n    FROM {table.quoted}\n"  # noqa: S608 (quoted)
    comment = f"-- The table has no time: its rows are taken as one after the other, in {words}.\n"
    return f"{comment}WITH ordered AS (\n{rows})\n"


# -- key -------------------------------------------------------------------------------------------


def _may_be_key(column: ColumnProfile, table: TableProfile) -> bool:
    return column.type in (*INTEGERS, *TEXTS) and not column.nulls and table.rows > 0 and column.distinct > 0


def _is_identifier(column: ColumnProfile, table: TableProfile) -> bool:
    """Whether a whole number that never repeats only counts or names the rows."""
    if column.distinct + column.nulls < table.rows or column.type not in INTEGERS:
        return False
    is_count = column.low is not None and column.high is not None and column.high - column.low + 1 == column.distinct
    return table.rows > 2 and (is_like_key(column.name) or is_count)


def _key(
    table: TableProfile, candidate: KeyCandidate, time: SourceColumn | None, made_name: str
) -> tuple[EntityKey, SourceColumn]:
    names = identifiers(column.name for column in table.columns)
    columns = [table.column(name) for name in candidate.columns]
    parts = [column.quoted for column in columns]
    if candidate.joins_time or not columns:
        assert time is not None  # noqa: S101  # a time that is made of the order is no part of a key
        parts.append(f"to_char(({time.sql}) AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US')")
    if len(parts) > 1 or not columns:
        sql = parts[0] if len(parts) == 1 else f"concat_ws('-', {', '.join(parts)})"
        return EntityKey(column=made_name), SourceColumn(made_name, sql, "text")
    column, name = columns[0], names[columns[0].name]
    if column.type in INTEGERS:
        return EntityKey(column=name, type="bigint"), SourceColumn(name, column.quoted, "bigint")
    sql = column.quoted if column.type in PLAIN_TEXTS else f"{column.quoted}::text"
    return EntityKey(column=name), SourceColumn(name, sql, "text")


def _describe_key(candidate: KeyCandidate, key: EntityKey) -> str:
    if not candidate.columns:
        return f"{key.column}, the event time as text: no row shares its time with another"
    if len(candidate.columns) > 1 or candidate.joins_time:
        time = ["the event time"] if candidate.joins_time else []
        return f"{key.column}, made of {', '.join([*map(printable, candidate.columns), *time])}"
    return f"{key.column} ({'differs at the same event time' if candidate.with_time else 'differs in every row'})"


# -- target ----------------------------------------------------------------------------------------


def _choose_target(table: TableProfile, options: ProposalOptions, taken: Iterable[str]) -> tuple[ColumnProfile, str]:
    if options.target is not None:
        return _named(table, options.target, "--target"), "as --target says"
    unavailable = set(taken)
    found = [
        column
        for column in table.columns
        if column.name not in unavailable
        and column.distinct > 1
        and (column.type in (*NUMBERS, "boolean") or (column.type in TEXTS and column.distinct <= MAX_CLASSES))
    ]
    if not found:
        raise SourceTableError(
            f"{table.schema}.{table.name}: expected a column to predict: a number, a boolean, or a text with at most "
            f"{MAX_CLASSES} different values; found none beside key and time. Nothing was written. Name one with "
            "--target, or add it to the table."
        )
    best = min(found, key=lambda column: target_rank(column.name))
    if target_rank(best.name) < target_rank("any other"):
        return best, "by its name; --target names another"
    return found[-1], "the last column that can be one; --target names another"


def _target(
    table: TableProfile, column: ColumnProfile, name: str, task: Task | None
) -> tuple[Task, SourceColumn, tuple[str, ...], str]:
    """Return the task, the target in SQL, its classes, and why."""
    where = f"{table.schema}.{table.name}: target {printable(column.name)}"
    if column.distinct < 2:
        raise SourceTableError(
            f"{where}: expected at least 2 different values; found {column.distinct}. Nothing was written. Name "
            "another column with --target."
        )
    if task == "regression" or (task is None and _is_quantity(column)):
        if column.type not in NUMBERS:
            raise SourceTableError(
                f"{where}: expected a number for a regression; found type {column.type}. Nothing was written. Leave "
                "--task out, or name another column with --target."
            )
        return "regression", SourceColumn(name, _finite(column)), (), f"a number with {column.distinct:,} values"
    return _classes(column, name, task, where)


def _is_quantity(column: ColumnProfile) -> bool:
    if column.type not in NUMBERS:
        return False
    return not column.whole or column.infinite > 0 or column.distinct > MAX_INTEGER_CLASSES


def _classes(
    column: ColumnProfile, name: str, task: Task | None, where: str
) -> tuple[Task, SourceColumn, tuple[str, ...], str]:
    if not column.values or (column.type in NUMBERS and (not column.whole or column.infinite)):
        raise SourceTableError(
            f"{where}: expected at most {MAX_CLASSES} classes: text, booleans or whole numbers; found "
            f"{column.distinct:,} different values of type {column.type}. Nothing was written. Name another column "
            "with --target, or group the values in a view."
        )
    if column.type == "boolean":
        if task == "multiclass":
            raise SourceTableError(f"{where}: expected at least 3 classes for --task multiclass; found a boolean.")
        return "binary", SourceColumn(name, column.quoted), BOOLEAN_CLASSES, "a boolean; true is the positive class"
    labels = _labels(column)
    kept = {label: rows for label, rows in labels.items() if rows >= MIN_CLASS_ROWS and _is_label(label)}
    if len(kept) < 2 or len(kept) > MAX_CLASSES:
        raise SourceTableError(
            f"{where}: expected 2 to {MAX_CLASSES} classes with at least {MIN_CLASS_ROWS} rows each and a printable "
            f"name of at most {MAX_LABEL} characters; found {len(kept)} ({len(labels)} different values). Nothing was "
            "written. Name another column with --target, or add rows."
        )
    found: Task = "binary" if len(kept) == 2 else "multiclass"
    if task is not None and task != found:
        raise SourceTableError(
            f"{where}: expected {'2' if task == 'binary' else 'at least 3'} classes for --task {task}; found "
            f"{len(kept)}: {', '.join(map(printable, list(kept)[:10]))}. Nothing was written. Leave --task out, or "
            "group the values in a view."
        )
    ordered = _in_order(kept, numbers=column.type in NUMBERS)
    sql = _label_sql(column)
    rare = [label for label in labels if label not in kept]
    note = f"{len(kept)} classes" + (f"; {ordered[1]} is the positive one" if found == "binary" else "")
    if rare:
        listed = ", ".join(label if column.type in NUMBERS else _literal(label) for label in ordered)
        sql = f"CASE WHEN {sql} IN ({listed}) THEN {sql} END"
        shown = ", ".join(printable(label) or "the empty text" for label in rare[:5])
        rest = f"{len(rare)} more values have fewer than {MIN_CLASS_ROWS} rows or no printable name: {shown}"
        note += f"; {rest}; their rows are not trained on"
    return found, SourceColumn(name, sql), tuple(ordered), note


def _labels(column: ColumnProfile) -> dict[str, int]:
    if column.type not in NUMBERS:
        return dict(column.values)
    return {str(int(float(value))): rows for value, rows in column.values.items()}


def _is_label(label: str) -> bool:
    return 0 < len(label) <= MAX_LABEL and label.isprintable()


def _in_order(labels: Mapping[str, int], *, numbers: bool) -> list[str]:
    """Return the classes in order; of two, the positive one is the second."""
    if numbers:
        return sorted(labels, key=int)
    if len(labels) != 2:
        return sorted(labels)
    positive = [label for label in labels if label.strip().lower() in _POSITIVE]
    second = positive[0] if len(positive) == 1 else min(sorted(labels, reverse=True), key=labels.__getitem__)
    return sorted(labels, key=lambda label: label == second)


def _label_sql(column: ColumnProfile) -> str:
    if column.type in (*PLAIN_TEXTS, *INTEGERS):
        return column.quoted
    return f"{column.quoted}::{'bigint' if column.type in NUMBERS else 'text'}"


def _literal(value: str) -> str:
    quoted = value.replace("'", "''")
    return f"E'{quoted.replace(chr(92), chr(92) * 2)}'" if "\\" in value else f"'{quoted}'"


# -- features --------------------------------------------------------------------------------------


def _features(
    table: TableProfile, names: Mapping[str, str], taken: Iterable[str]
) -> tuple[list[tuple[Feature, SourceColumn]], list[LeftOut]]:
    features, left_out = [], []
    for column in table.columns:
        if column.name in set(taken):
            continue
        found = (
            "a number of its own in every row: an identifier"
            if _is_identifier(column, table)
            else propose_feature(column, table.rows, names[column.name])
        )
        if isinstance(found, str):
            left_out.append(LeftOut(column.name, found))
        else:
            features.append(found)
    return features, left_out


def _number(column: ColumnProfile, rows: int, name: str) -> tuple[Feature, SourceColumn] | str:  # noqa: ARG001 (as `_category`)
    if column.low is None or column.high is None:
        return "no finite number in any row"
    if column.distinct_single < (1 - MAX_MERGED_SHARE) * column.distinct:
        return (
            f"{column.distinct:,} different values, of which single precision tells {column.distinct_single:,} apart; "
            "subtract an origin in features.sql"
        )
    if column.low == column.high and not column.nulls + column.infinite:
        return "the same value in every row"
    minimum, maximum = widened(column.low, column.high, whole=column.whole)
    feature = Numeric(
        name=name, unit=UNIT, minimum=minimum, maximum=maximum, nullable=column.nulls + column.infinite > 0
    )
    return feature, SourceColumn(name, _finite(column))


def _finite(column: ColumnProfile) -> str:
    if not column.infinite:
        return column.quoted
    return f"CASE WHEN {column.quoted} BETWEEN -{_LARGEST} AND {_LARGEST} THEN {column.quoted} END"


def _category(column: ColumnProfile, rows: int, name: str) -> tuple[Feature, SourceColumn] | str:
    if column.type == "uuid":
        return "an identifier"
    limit = min(MAX_LEARNED, max(MAX_CATEGORIES, rows // ROWS_A_CATEGORY))
    if column.distinct > limit:
        return f"{column.distinct:,} different texts; group them into at most {limit} in features.sql"
    if column.distinct > max(3, (rows - column.nulls) / 2):
        return "nearly every row has a text of its own: an identifier"
    if column.longest > MAX_CATEGORY_LENGTH:
        return f"texts of up to {column.longest:,} characters"
    listed = tuple(sorted(column.values)) if column.distinct <= MAX_CATEGORIES else ()
    feature = Categorical(name=name, categories=listed, nullable=column.nulls > 0)
    sql = column.quoted if column.type in PLAIN_TEXTS else f"{column.quoted}::text"
    return feature, SourceColumn(name, sql)
