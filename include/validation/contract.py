"""What a spec promises of its data, spelled out as checks: no database and no Great Expectations here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from include.records import Period, Purpose
from include.spec import Categorical, ModelSpec, Numeric

NUMBERS = ("smallint", "integer", "bigint", "real", "double precision", "numeric")
TEXTS = ("text", "varchar", "char")
TYPES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "numeric": NUMBERS,
        "categorical": TEXTS,
        "boolean": ("boolean",),
        "text": TEXTS,
        "bigint": ("smallint", "integer", "bigint"),
        "time": ("timestamp with time zone",),
    }
)
"""The PostgreSQL types, as SQLAlchemy writes them, in which a kind of column may come."""


@dataclass(frozen=True, slots=True)
class Check:
    """One expectation, in words of Great Expectations, of people, and of SQL.

    Parameters
    ----------
    expectation : str
        The type by which Great Expectations knows it, such as ``expect_column_values_to_not_be_null``.
    column : str or None
        None: it is about the table.
    rule : str
        What is expected, to be read after "expected".
    options : Mapping
        The expectation's own arguments.
    failing : str or None
        A SQL condition that holds for the rows that break the rule; ``{table}`` stands for the table.
        None: no single row is at fault.
    """

    expectation: str
    column: str | None
    rule: str
    options: Mapping[str, Any] = field(default_factory=dict)
    failing: str | None = None


@dataclass(frozen=True, slots=True)
class Column:
    """A column that the query must give, and how: its `TYPES` kind."""

    name: str
    kind: str


def declared_columns(spec: ModelSpec, purpose: Purpose) -> tuple[Column, ...]:
    """Return the columns that the query must give; to score, the target is not one of them."""
    columns = [Column(spec.entity_key.column, spec.entity_key.type), Column(spec.event_time, "time")]
    columns += [Column(feature.name, feature.kind) for feature in spec.features]
    if purpose == "train":
        columns.append(Column(spec.target.column, "text" if spec.target.classes else "numeric"))
    return tuple(columns)


def derive_checks(spec: ModelSpec, period: Period, purpose: Purpose, found: Mapping[str, str]) -> tuple[Check, ...]:
    """Derive the checks that can be made of a table.

    Parameters
    ----------
    found : Mapping of str to str
        The table's columns with their types. What a missing column or one of the wrong type would
        hold is not asked: that it is missing or wrong says it all.
    """
    declared = declared_columns(spec, purpose)
    usable = {column.name for column in declared if base_type(found.get(column.name, "")) in TYPES[column.kind]}
    checks = [_columns(spec, declared, found), _row_count(spec, purpose)]
    checks += [_type(column, found) for column in declared]
    checks += [check for check in _contents(spec, period, purpose) if check.column in usable]
    return tuple(checks)


def base_type(type_name: str) -> str:
    """Return the type's name without its length or precision: ``numeric(10,2)`` is ``numeric``."""
    head, _, tail = type_name.partition("(")
    return (head + tail.partition(")")[2]).strip().replace("  ", " ")


def _columns(spec: ModelSpec, declared: tuple[Column, ...], found: Mapping[str, str]) -> Check:
    names = [column.name for column in declared]
    if spec.target.column in found and spec.target.column not in names:
        names.append(spec.target.column)  # the query may well give it when scoring; it is just not read
    return Check(
        "expect_table_columns_to_match_set",
        None,
        f"the {len(names)} declared columns and no other",
        {"column_set": names, "exact_match": True},
    )


def _row_count(spec: ModelSpec, purpose: Purpose) -> Check:
    fewest, most = spec.contract.training_rows if purpose == "train" else spec.contract.partition_rows
    return Check(
        "expect_table_row_count_to_be_between",
        None,
        f"{fewest:,} to {most:,} rows",
        {"min_value": fewest, "max_value": most},
    )


def _type(column: Column, found: Mapping[str, str]) -> Check:
    if column.name not in found:
        return Check("expect_column_to_exist", column.name, "a column of this name in the result of features.sql")
    accepted = TYPES[column.kind]
    actual = found[column.name]
    # Great Expectations compares the whole name, length and precision included; those are all the same to us.
    exact = [actual] if base_type(actual) in accepted else []
    return Check(
        "expect_column_values_to_be_in_type_list",
        column.name,
        f"type {' or '.join(accepted)}",
        {"type_list": sorted({*accepted, *exact})},
    )


def _contents(spec: ModelSpec, period: Period, purpose: Purpose) -> Iterator[Check]:
    key, time = spec.entity_key.column, spec.event_time
    yield _not_null(key)
    yield Check(
        "expect_column_values_to_be_unique",
        key,
        "each key once",
        failing=f'"{key}" IN (SELECT "{key}" FROM {{table}} GROUP BY 1 HAVING count(*) > 1)',  # noqa: S608 (identifier)
    )
    yield _not_null(time)
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
    for feature in spec.features:
        if not feature.nullable:
            yield _not_null(feature.name)
        if isinstance(feature, Numeric):
            yield _in_range(feature)
        elif isinstance(feature, Categorical) and feature.categories and feature.handle_unknown == "error":
            yield _one_of(feature.name, feature.categories)
    if purpose == "train" and spec.target.classes:
        yield _one_of(spec.target.column, spec.target.classes)


def _not_null(column: str) -> Check:
    return Check("expect_column_values_to_not_be_null", column, "no null", failing=f'"{column}" IS NULL')


def _in_range(feature: Numeric) -> Check:
    return Check(
        "expect_column_values_to_be_between",
        feature.name,
        f"{feature.minimum:,g} to {feature.maximum:,g} ({feature.unit})",
        {"min_value": feature.minimum, "max_value": feature.maximum},
        f'"{feature.name}" NOT BETWEEN {feature.minimum!r} AND {feature.maximum!r}',
    )


def _one_of(column: str, allowed: tuple[str, ...]) -> Check:
    quoted = ", ".join("'" + value.replace("'", "''") + "'" for value in allowed)
    shown = ", ".join(allowed[:20]) + (", ..." if len(allowed) > 20 else "")
    return Check(
        "expect_column_values_to_be_in_set",
        column,
        f"one of {shown}",
        {"value_set": list(allowed)},
        f'"{column}" NOT IN ({quoted})',
    )
