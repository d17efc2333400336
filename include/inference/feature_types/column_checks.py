"""Checks of a table: in the words of Great Expectations, of people and of SQL; it imports none of their libraries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Check:
    """One expectation of a table.

    Parameters
    ----------
    expectation : str
        Its type in Great Expectations, such as ``expect_column_values_to_not_be_null``.
    column : str or None
        None: the check is of the table.
    rule : str
        What is expected, to be read after "expected".
    options : Mapping
        The expectation's own arguments.
    failing : str or None
        A SQL condition that is true for the rows that break the rule; ``{table}`` stands for the table.
        None: the check is not of single rows.
    shown : str or None
        A SQL expression of what Great Expectations is shown as the column, where that is not the column itself.
    known : bool or None
        Whether the check passes, where the column's name and type decide it.
    """

    expectation: str
    column: str | None
    rule: str
    options: Mapping[str, Any] = field(default_factory=dict)
    failing: str | None = None
    shown: str | None = None
    known: bool | None = None


def not_null(column: str) -> Check:
    """Return the check that no value of `column` is null."""
    return Check("expect_column_values_to_not_be_null", column, "no null", failing=f'"{column}" IS NULL')


def in_range(
    column: str, column_type: str, declared: tuple[float, float], accepted: tuple[float, float], rule: str
) -> Check:
    """Return the check that the numbers of `column` lie between two bounds, both included.

    Parameters
    ----------
    column_type : str
        A numeric type of PostgreSQL.
    declared : tuple of float
        The bounds that people read.
    accepted : tuple of float
        The bounds that decide, as doubles; not within those declared.
    """
    value = double_of(column, column_type)
    (low, high), (least, greatest) = (_literals(bounds) for bounds in (declared, accepted))
    failing = f"{value} NOT BETWEEN {least} AND {greatest}"
    # What is accepted beyond a declared bound is the bound in single precision, and is shown as the bound.
    within = f'WHEN "{column}" IS NOT NULL THEN least(greatest({value}, {low}), {high})'
    return Check(
        "expect_column_values_to_be_between",
        column,
        rule,
        {"min_value": declared[0], "max_value": declared[1]},
        failing,
        f"CASE WHEN {failing} THEN {value} {within} END",
    )


def double_of(column: str, column_type: str) -> str:
    """Return the SQL expression of a number as double precision; NaN for a ``numeric`` that double cannot hold."""
    if column_type != "numeric":
        return f'"{column}"::float8'
    return (
        f'CASE WHEN "{column}" = 0 OR abs("{column}") BETWEEN 1e-307 AND 1e308 THEN "{column}"::float8'
        f" WHEN \"{column}\" IS NOT NULL THEN 'NaN'::float8 END"
    )


def _literals(bounds: tuple[float, float]) -> tuple[str, str]:
    low, high = (f"'{bound!r}'::float8" for bound in bounds)
    return low, high


def in_set(column: str, allowed: tuple[str, ...]) -> Check:
    """Return the check that each string of `column` is one of `allowed`."""
    quoted = ", ".join("'" + value.replace("'", "''") + "'" for value in allowed)
    shown = ", ".join(allowed[:20]) + (", ..." if len(allowed) > 20 else "")
    return Check(
        "expect_column_values_to_be_in_set",
        column,
        f"one of {shown}",
        {"value_set": list(allowed)},
        # Byte by byte, as the model's dictionary compares, whatever the column's collation takes for equal.
        f'"{column}"::text COLLATE "C" NOT IN ({quoted})',
    )
