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
    """

    expectation: str
    column: str | None
    rule: str
    options: Mapping[str, Any] = field(default_factory=dict)
    failing: str | None = None


def not_null(column: str) -> Check:
    """Return the check that no value of `column` is null."""
    return Check("expect_column_values_to_not_be_null", column, "no null", failing=f'"{column}" IS NULL')


def in_range(column: str, low: float, high: float, unit: str) -> Check:
    """Return the check that the numbers of `column` lie between two bounds, both included."""
    return Check(
        "expect_column_values_to_be_between",
        column,
        f"{low:,g} to {high:,g} ({unit})",
        {"min_value": low, "max_value": high},
        f'"{column}" NOT BETWEEN {low!r} AND {high!r}',
    )


def in_set(column: str, allowed: tuple[str, ...]) -> Check:
    """Return the check that each string of `column` is one of `allowed`."""
    quoted = ", ".join("'" + value.replace("'", "''") + "'" for value in allowed)
    shown = ", ".join(allowed[:20]) + (", ..." if len(allowed) > 20 else "")
    return Check(
        "expect_column_values_to_be_in_set",
        column,
        f"one of {shown}",
        {"value_set": list(allowed)},
        f'"{column}" NOT IN ({quoted})',
    )
