"""What a spec promises of its data, spelled out as checks: no database and no Great Expectations here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from include.inference.feature_types import feature_type
from include.inference.feature_types.column_checks import Check, in_set, not_null
from include.records import Period, Purpose
from include.spec import Categorical, FeatureQuery, ModelSpec, Numeric

_TIME_TYPES = ("timestamp with time zone",)
_KEY_TYPES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"text": Categorical.sql_types, "bigint": ("smallint", "integer", "bigint")}
)


@dataclass(frozen=True, slots=True)
class DeclaredColumn:
    """A column that the query must return, and the PostgreSQL types, as SQLAlchemy writes them, that it may have."""

    name: str
    types: tuple[str, ...]


def declared_columns(query: FeatureQuery, purpose: Purpose) -> tuple[DeclaredColumn, ...]:
    """Return the columns that the query must give; to score, the target is not one of them."""
    key = DeclaredColumn(query.entity_key.column, _KEY_TYPES[query.entity_key.type])
    columns = [key, DeclaredColumn(query.event_time, _TIME_TYPES)]
    columns += [DeclaredColumn(feature.name, feature.sql_types) for feature in query.features]
    if purpose == "train" and query.target is not None:
        types = Categorical.sql_types if query.target.classes else Numeric.sql_types
        columns.append(DeclaredColumn(query.target.column, types))
    return tuple(columns)


def column_differences(query: FeatureQuery, found: Mapping[str, str]) -> tuple[str, ...]:
    """Compare the columns that a query gives with those that rows to score need; return a sentence a difference.

    Parameters
    ----------
    found : Mapping of str to str
        The columns with their types, see `include.warehouse.feature_source.FeatureSource.columns`.
    """
    differences = []
    for column in declared_columns(query, "score"):
        if column.name not in found:
            differences.append(f"its features.sql gives no column '{column.name}'")
        elif base_type(found[column.name]) not in column.types:
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
    usable = {column.name for column in declared if base_type(found.get(column.name, "")) in column.types}
    checks = [_columns(query, declared, found), _row_count(spec, purpose)]
    checks += [_type(column, found) for column in declared]
    checks += [check for check in _contents(spec, query, period, purpose) if check.column in usable]
    return tuple(checks)


def base_type(type_name: str) -> str:
    """Return the type's name without its length or precision: ``numeric(10,2)`` is ``numeric``."""
    head, _, tail = type_name.partition("(")
    return (head + tail.partition(")")[2]).strip().replace("  ", " ")


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
        "expect_table_row_count_to_be_between",
        None,
        f"{fewest:,} to {most:,} rows",
        {"min_value": fewest, "max_value": most},
    )


def _type(column: DeclaredColumn, found: Mapping[str, str]) -> Check:
    if column.name not in found:
        return Check("expect_column_to_exist", column.name, "a column of this name in the result of features.sql")
    accepted = column.types
    actual = found[column.name]
    # Great Expectations compares the whole name, length and precision included; those are all the same to us.
    exact = [actual] if base_type(actual) in accepted else []
    return Check(
        "expect_column_values_to_be_in_type_list",
        column.name,
        f"type {' or '.join(accepted)}",
        {"type_list": sorted({*accepted, *exact})},
    )


def _contents(spec: ModelSpec, query: FeatureQuery, period: Period, purpose: Purpose) -> Iterator[Check]:
    key, time = query.entity_key.column, query.event_time
    yield not_null(key)
    yield Check(
        "expect_column_values_to_be_unique",
        key,
        "each key once",
        failing=f'"{key}" IN (SELECT "{key}" FROM {{table}} GROUP BY 1 HAVING count(*) > 1)',  # noqa: S608 (identifier)
    )
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
        yield from feature_type(feature).column_checks()
    if purpose == "train" and spec.target.classes:
        yield in_set(spec.target.column, spec.target.classes)
