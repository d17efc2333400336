"""What a spec promises of its data, spelled out as checks: no database and no Great Expectations here."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from include.inference.feature_types import feature_type
from include.inference.feature_types.column_checks import Check, in_set, not_null
from include.records import Period, Purpose
from include.spec import BOOLEAN_CLASSES, Boolean, Categorical, FeatureQuery, ModelSpec, Numeric, Target

ROW_COUNT: Final = "expect_table_row_count_to_be_between"
"""The expectation of the number of rows."""

_TIME_TYPES = ("timestamp with time zone",)
_INTEGERS = ("smallint", "integer", "bigint")
_KEY_TYPES: Mapping[str, tuple[str, ...]] = MappingProxyType({"text": Categorical.sql_types, "bigint": _INTEGERS})


@dataclass(frozen=True, slots=True)
class DeclaredColumn:
    """A column that the query must return, and the PostgreSQL types that it may have, see `Scratch.columns`."""

    name: str
    types: tuple[str, ...]


def declared_columns(query: FeatureQuery, purpose: Purpose) -> tuple[DeclaredColumn, ...]:
    """Return the columns that the query must give; to score, the target is not one of them."""
    key = DeclaredColumn(query.entity_key.column, _KEY_TYPES[query.entity_key.type])
    columns = [key, DeclaredColumn(query.event_time, _TIME_TYPES)]
    columns += [DeclaredColumn(feature.name, feature.sql_types) for feature in query.features]
    if purpose == "train" and query.target is not None:
        columns.append(DeclaredColumn(query.target.column, _target_types(query.target)))
    return tuple(columns)


def _target_types(target: Target) -> tuple[str, ...]:
    """Return the types whose values are, as text, the labels of the classes; or those of a number."""
    if not target.classes:
        return Numeric.sql_types
    types = Categorical.sql_types
    if set(target.classes) == set(BOOLEAN_CLASSES):
        types += Boolean.sql_types
    if all(re.fullmatch(r"0|-?[1-9][0-9]*", label) for label in target.classes):
        types += _INTEGERS
    return types


def column_differences(query: FeatureQuery, found: Mapping[str, str], purpose: Purpose = "score") -> tuple[str, ...]:
    """Compare the columns that a query gives with those that its rows need; return a sentence a difference.

    Parameters
    ----------
    found : Mapping of str to str
        The columns with their types, see `include.warehouse.feature_source.FeatureSource.columns`.
    """
    differences = []
    for column in declared_columns(query, purpose):
        if column.name not in found:
            differences.append(f"its features.sql gives no column '{column.name}'")
        elif found[column.name] not in column.types:
            wanted = " or ".join(column.types)
            differences.append(f"its column '{column.name}' needs type {wanted}, and is {found[column.name]} today")
    known = {column.name for column in declared_columns(query, "train")}
    differences.extend(
        f"its features.sql gives column '{name}', which it does not take" for name in found if name not in known
    )
    return tuple(differences)


def derive_checks(
    spec: ModelSpec, query: FeatureQuery, period: Period, purpose: Purpose, found: Mapping[str, str]
) -> tuple[Check, ...]:
    """Derive the checks that can be made of a table.

    Parameters
    ----------
    query : FeatureQuery
        The query that gave the table, and its features: those of the declaration, or those of a version.
    found : Mapping of str to str
        The table's columns with their types. What a missing column or one of the wrong type would
        hold is not asked: that it is missing or wrong says it all.
    """
    declared = declared_columns(query, purpose)
    usable = {column.name for column in declared if found.get(column.name) in column.types}
    checks = [_columns(query, declared, found), _row_count(spec, purpose)]
    checks += [_type(column, found) for column in declared]
    checks += [check for check in _contents(spec, query, period, purpose, found) if set(_columns_of(check)) <= usable]
    return tuple(checks)


def shown_columns(query: FeatureQuery, checks: Iterable[Check], found: Mapping[str, str]) -> list[str]:
    """Return the SQL expressions of a view of the table, one for each column, in the types that Sluice works with.

    Great Expectations looks at this view when it makes `checks`. So it meets no type that it does not know, and every
    query of its own is short: a column that none of the checks is about is shown as null.
    """
    working = {query.entity_key.column: query.entity_key.type, query.event_time: "timestamptz"}
    working |= {feature.name: feature.sql_type for feature in query.features}
    if query.target is not None:
        working[query.target.column] = "text" if query.target.classes else "double precision"
    used = {name for check in checks for name in _columns_of(check)}
    given = {check.column: check.shown for check in checks if check.shown is not None}
    shown = []
    for name in found:
        # The name of an undeclared column may hold anything.
        quoted = '"' + name.replace('"', '""') + '"'
        if name not in used:
            shown.append(f"NULL::text AS {quoted}")
        elif name in given:
            shown.append(f"{given[name]} AS {quoted}")
        else:
            collation = ' COLLATE "C"' if working[name] == "text" else ""
            shown.append(f"{quoted}::{working[name]}{collation} AS {quoted}")
    return shown


def _columns_of(check: Check) -> tuple[str, ...]:
    named: Sequence[str] = check.options.get("column_list", ())
    return (*named, *(() if check.column is None else (check.column,)))


def _columns(query: FeatureQuery, declared: tuple[DeclaredColumn, ...], found: Mapping[str, str]) -> Check:
    names = [column.name for column in declared]
    if query.target and query.target.column in found and query.target.column not in names:
        names.append(query.target.column)  # the query may well give it when scoring; it is just not read
    return Check(
        "expect_table_columns_to_match_set",
        None,
        f"the {len(names)} declared columns and no other",
        {"column_set": names, "exact_match": True},
    )


def _row_count(spec: ModelSpec, purpose: Purpose) -> Check:
    fewest, most = spec.contract.training_rows if purpose == "train" else spec.contract.partition_rows
    return Check(
        ROW_COUNT,
        None,
        f"{fewest:,} to {most:,} rows",
        {"min_value": fewest, "max_value": most},
    )


def _type(column: DeclaredColumn, found: Mapping[str, str]) -> Check:
    if column.name not in found:
        rule = "a column of this name in the result of features.sql"
        return Check("expect_column_to_exist", column.name, rule, known=False)
    accepted = column.types
    return Check(
        "expect_column_values_to_be_in_type_list",
        column.name,
        f"type {' or '.join(accepted)}",
        known=found[column.name] in accepted,
    )


def _contents(
    spec: ModelSpec, query: FeatureQuery, period: Period, purpose: Purpose, found: Mapping[str, str]
) -> Iterator[Check]:
    key, time = query.entity_key.column, query.event_time
    yield not_null(key)
    yield _unique(query, purpose)
    yield not_null(time)
    yield Check(
        "expect_column_values_to_be_between",
        time,
        f"times within {period}, the end excluded",
        {"min_value": period.start, "max_value": period.end, "strict_max": True},
        f"\"{time}\" < '{period.start.isoformat()}' OR \"{time}\" >= '{period.end.isoformat()}'",
    )
    if purpose == "train" and spec.contract.freshness is not None:
        oldest = period.end - spec.contract.freshness
        yield Check(
            "expect_column_max_to_be_between",
            time,
            f"a newest row no older than {oldest:%Y-%m-%d %H:%M} UTC",
            {"min_value": oldest},
        )
    for feature in query.features:
        yield from feature_type(feature).column_checks(found.get(feature.name, feature.sql_type))
    if purpose == "train" and spec.target.classes:
        yield in_set(spec.target.column, spec.target.classes)


def _unique(query: FeatureQuery, purpose: Purpose) -> Check:
    """Return the check of the key: in a partition each key once; to train, each key once at a time.

    An entity may occur on many days of a training window, as it may in many partitions.
    """
    key, time = query.entity_key.column, query.event_time
    # Byte by byte, as the score table compares keys, whatever the column's collation takes for equal.
    exact = f'"{key}"::text COLLATE "C"' if query.entity_key.type == "text" else f'"{key}"'
    # Every name is an identifier that ModelSpec has checked.
    if purpose == "score":
        again = f"{exact} IN (SELECT {exact} FROM {{table}} GROUP BY 1 HAVING count(*) > 1)"  # noqa: S608
        return Check("expect_column_values_to_be_unique", key, "each key once", failing=again)
    again = f'({exact}, "{time}") IN (SELECT {exact}, "{time}" FROM {{table}} GROUP BY 1, 2 HAVING count(*) > 1)'  # noqa: S608
    return Check(
        "expect_compound_columns_to_be_unique",
        key,
        f"each key once at the same {time}",
        {"column_list": [key, time]},
        failing=again,
    )
