"""The base class of a declaration's parts, and the types that they share."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final, Literal, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, StringConstraints, ValidationInfo

IDENTIFIER: Final = r"^[a-z][a-z0-9_]{0,40}$"
Identifier = Annotated[str, StringConstraints(pattern=IDENTIFIER)]
Task = Literal["binary", "multiclass", "regression"]

# Beside scores.<model> there are the view <model>_latest, the table <model>_shadow of challengers, and the partitions
# <model>_p20260131_0000 with their shards and attempts.
_OF_ANOTHER_MODEL = re.compile(r".*(_latest|_shadow|_p\d{8}_\d{4}(_[as]\d+)*)")
_SYSTEM_COLUMNS = ("tableoid", "xmin", "cmin", "xmax", "cmax", "ctid")

_CRON_FIELDS = ("minute", "hour", "day of month", "month", "day of week")
_CRON_START = datetime(2000, 1, 1, tzinfo=UTC)
_QUARTERLY = "0 0 1 */3 *"  # what Airflow makes of its preset @quarterly, which croniter does not have


_MAX_DURATION = timedelta(days=365_000)
_RANDOM = re.compile(r"(^|\s)R", re.IGNORECASE)


def _checked_cron(expression: str) -> str:
    """Refuse an invalid schedule here. Airflow would refuse it only later, when it creates the DAGs of all models."""
    from croniter import CroniterBadDateError, croniter  # Airflow's library; imported only when needed

    if expression == "@quarterly":
        return _QUARTERLY
    fields = expression.split()
    preset = expression.startswith("@")
    if not preset and len(fields) != len(_CRON_FIELDS):
        raise ValueError(
            "a schedule has five fields, such as '0 4 * * 1' (Mondays at 04:00 UTC), or is a preset such as '@daily'; "
            f"found {len(fields)} fields in '{expression}'"
        )
    if not croniter.is_valid(expression):
        if preset:
            raise ValueError(f"expected a preset such as '@hourly', '@daily' or '@weekly'; found '{expression}'")
        raise ValueError(f"the schedule's {_wrong_field(fields)} in '{expression}'")
    if not preset and _RANDOM.search(expression):
        # croniter takes it, and reads another time each time: a partition would have no fixed start.
        raise ValueError(f"expected fixed times; found R, a random time, in '{expression}'")
    try:
        croniter(expression, _CRON_START).get_next()
    except CroniterBadDateError as error:
        raise ValueError(f"the schedule '{expression}' never occurs: none of its months has such a day") from error
    return expression


def check_model_name(name: str) -> str:
    """Return the name of a model; ValueError where a relation of another model could have this name."""
    match = _OF_ANOTHER_MODEL.fullmatch(name)
    if match is not None:
        raise ValueError(
            f"a model's name must not end with {match.group(1)}: scores.{name} could be a view or table of the model "
            f"'{name[: match.start(1)]}'"
        )
    return name


def _not_of_the_system(name: str) -> str:
    if name in _SYSTEM_COLUMNS:
        raise ValueError(f"PostgreSQL has a system column {name} in every table; give the column another name")
    return name


def _wrong_field(fields: list[str]) -> str:
    from croniter import croniter

    for position, (name, field) in enumerate(zip(_CRON_FIELDS, fields, strict=True)):
        alone = ["*"] * len(fields)
        alone[position] = field
        if not croniter.is_valid(" ".join(alone)):
            return f"{name} is not valid; found '{field}'"
    return "these fields are not valid together"


def _known_time_zone(name: str) -> str:
    if name == "UTC":
        return name
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        # The image of the service may have no time zones at all, and nothing there needs one.
        if available_timezones():
            raise ValueError(f"expected a name of the IANA time zones, such as Europe/Berlin; found '{name}'") from None
    return name


def _with_a_unit(duration: object, info: ValidationInfo) -> object:
    """Refuse a number, of which nobody knows whether it is days or seconds. JSON has durations as text (ISO 8601)."""
    if info.mode == "python" and not isinstance(duration, timedelta):
        raise ValueError(f"expected a duration with its unit, such as timedelta(days=7); found {duration!r}")
    return duration


def _positive(duration: timedelta) -> timedelta:
    if duration <= timedelta(0):
        raise ValueError(f"expected a duration above zero; found {duration}")
    return _not_too_long(duration)


def _not_negative(duration: timedelta) -> timedelta:
    if duration < timedelta(0):
        raise ValueError(f"expected a duration of zero or more; found {duration}")
    return _not_too_long(duration)


def _not_too_long(duration: timedelta) -> timedelta:
    """Refuse what, subtracted from a time of today, would leave the years that a date can have."""
    if duration > _MAX_DURATION:
        raise ValueError(f"expected a duration of at most {_MAX_DURATION.days:,} days; found {duration.days:,} days")
    return duration


ModelName = Annotated[Identifier, AfterValidator(check_model_name)]
ColumnName = Annotated[Identifier, AfterValidator(_not_of_the_system)]
Cron = Annotated[str, AfterValidator(_checked_cron)]
TimeZone = Annotated[str, AfterValidator(_known_time_zone)]
PositiveDuration = Annotated[timedelta, AfterValidator(_positive), BeforeValidator(_with_a_unit)]
NonNegativeDuration = Annotated[timedelta, AfterValidator(_not_negative), BeforeValidator(_with_a_unit)]


class Fault(NamedTuple):
    """One fault of a part of a declaration: the path of its field in that part, and what is wrong."""

    path: tuple[str | int, ...]
    message: str


class FaultsError(ValueError):
    """All faults that the fields of one part have together."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__("; ".join(fault.message for fault in faults))
        self.faults = tuple(faults)


class SpecModel(BaseModel):
    """The base class of every part of a declaration: frozen, and without unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
