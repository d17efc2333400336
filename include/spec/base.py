"""What all words of a declaration share."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints

Identifier = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,40}$")]
ClassLabel = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_]{1,40}$")]
Task = Literal["binary", "multiclass", "regression"]

_CRON_FIELDS = (("minute", 0, 59), ("hour", 0, 23), ("day of month", 1, 31), ("month", 1, 12), ("day of week", 0, 7))
_CRON_ITEM = re.compile(r"(?:\*|(\d+)(?:-(\d+))?)(?:/([1-9]\d*))?")


def _checked_cron(expression: str) -> str:
    """Check here what Airflow would only find when the DAG is made, beside other models' DAGs."""
    fields = expression.split()
    if len(fields) != len(_CRON_FIELDS):
        raise ValueError(f"a schedule has five fields, such as '0 4 * * 1' (Mondays at 04:00 UTC); found {len(fields)}")
    for field, (name, low, high) in zip(fields, _CRON_FIELDS, strict=True):
        for item in field.split(","):
            match = _CRON_ITEM.fullmatch(item)
            bounds = [int(number) for number in (match.groups()[:2] if match else ()) if number is not None]
            if match is None or bounds != sorted(bounds) or not all(low <= number <= high for number in bounds):
                raise ValueError(
                    f"the schedule's {name} takes numbers from {low} to {high}, *, ranges and steps; found '{item}'"
                )
    return expression


def _positive(length: timedelta) -> timedelta:
    if length <= timedelta(0):
        raise ValueError(f"expected a length of time above zero; found {length}")
    return length


def _not_negative(length: timedelta) -> timedelta:
    if length < timedelta(0):
        raise ValueError(f"expected a length of time of zero or more; found {length}")
    return length


Cron = Annotated[str, AfterValidator(_checked_cron)]
PositiveDuration = Annotated[timedelta, AfterValidator(_positive)]
NonNegativeDuration = Annotated[timedelta, AfterValidator(_not_negative)]


class SpecModel(BaseModel):
    """The parent of every word: frozen, and strict about names it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
