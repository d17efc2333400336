"""The base class of every record, and the period that most of them refer to."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any, Self

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, model_validator


class Record(BaseModel):
    """A frozen value with an exact round trip through JSON."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")

    def to_plain(self) -> dict[str, Any]:
        """Return the record as JSON-ready built-in types."""
        return self.model_dump(mode="json")

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> Self:
        """Return the record of which ``to_plain`` returned `plain`."""
        return cls.model_validate(plain)


def _storable(text: str) -> str:
    """Return a text as PostgreSQL and UTF-8 can hold it: NUL and half a surrogate pair become escapes."""
    return text.replace("\x00", "\\x00").encode("utf-8", "backslashreplace").decode("utf-8")


StorableText = Annotated[str, AfterValidator(_storable)]
"""A text of others, such as of an exception, which may hold any character."""


def as_argument(moment: datetime) -> str:
    """Return a moment as the commands take one, to the minute: ``2026-03-01T12:00Z``."""
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%MZ}"


class Period(Record):
    """The half-open period of event time ``[start, end)``, in UTC."""

    start: AwareDatetime
    end: AwareDatetime

    @model_validator(mode="after")
    def _runs_forward(self) -> Self:
        if self.end <= self.start:
            raise ValueError(f"a period must end after its start; found {self.start} to {self.end}")
        return self

    @classmethod
    def of_day(cls, day: date) -> Self:
        """Return the UTC day `day` as a period."""
        start = datetime(day.year, day.month, day.day, tzinfo=UTC)
        return cls(start=start, end=start + timedelta(days=1))

    def __str__(self) -> str:
        return f"{self.start:%Y-%m-%d %H:%M} to {self.end:%Y-%m-%d %H:%M} UTC"
