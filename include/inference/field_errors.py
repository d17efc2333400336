"""Describes invalid values: where each is, what was expected, and of which kind it is.

The value itself is included only on request: it may be private, and errors are logged.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Final

from include.errors import RowsRejectedError, UnscorableRowsError

MAX_FIELD_ERRORS: Final = 20

_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NUMBER: Final = "a number"
_SHOWN = 60  # characters of a value: enough to recognise it, too few to flood an answer


@dataclass(frozen=True, slots=True)
class FieldError:
    """One thing wrong with a request.

    Parameters
    ----------
    path : str
        JSON path, such as ``$.features.carrier`` or ``$.features[3]``.
    expected, found : str
        Phrases that stand alone; what was found is described without its value.
    value : str or None
        What was found as `shown` writes it, where that tells more.
    """

    path: str
    expected: str
    found: str
    value: str | None = None

    @classmethod
    def of(cls, path: str, expected: str, value: Any) -> FieldError:
        """Return the fault of a `value` that is not what was expected at `path`."""
        found = kind_of(value)
        if found == _NUMBER and expected.startswith(_NUMBER):
            found = "one out of range"
        return cls(path, expected, found, shown(value))

    def __str__(self) -> str:
        return format_error({"path": self.path, "expected": self.expected, "found": self.found})


def rows_rejected(faults: Iterable[FieldError]) -> RowsRejectedError:
    """Return the error that holds all `faults`, or the first 20 of them; the search stops there."""
    return RowsRejectedError(list(islice(faults, MAX_FIELD_ERRORS)))


def unscorable(
    rows: Sequence[int], reason: str, path_of: Callable[[int], str] = "$.features[{}]".format
) -> UnscorableRowsError:
    """Return the error of rows for which the model has no answer.

    Parameters
    ----------
    path_of : callable
        Returns how a row is named in the request.
    """
    found = f"one for which it has none ({(reason.strip().splitlines() or ['it failed'])[0][:200]})"
    expected = "a row for which the model has an answer"
    return UnscorableRowsError([FieldError(path_of(row), expected, found) for row in rows[:MAX_FIELD_ERRORS]], rows)


def at_path(error: UnscorableRowsError, path_of: Callable[[int], str]) -> UnscorableRowsError:
    """Return the same error with the rows' names in a request of another form."""
    faults = [
        replace(fault, path=path_of(row)) if isinstance(fault, FieldError) else fault
        for row, fault in zip(error.rows, error.faults, strict=False)
    ]
    return UnscorableRowsError(faults, error.rows)


def render_errors(faults: Iterable[object], *, values: bool) -> list[dict[str, str]]:
    """Return `faults` as the members of a problem document; with the rejected values if `values`."""
    return [
        {
            "path": fault.path,
            "expected": fault.expected,
            "found": fault.value if values and fault.value is not None else fault.found,
        }
        for fault in faults
        if isinstance(fault, FieldError)
    ]


def format_error(error: Mapping[str, str]) -> str:
    """Return one of the errors of `render_errors` as a sentence."""
    return "{path}: expected {expected}; found {found}".format_map(error)


def member_path(path: str, name: object) -> str:
    """Return the JSON path of the member `name` of the object at `path`."""
    text = str(name)
    if len(text) > _SHOWN:
        text = text[:_SHOWN] + "..."
    return f"{path}.{text}" if _PLAIN_NAME.fullmatch(text) else f"{path}[{json.dumps(text)}]"


def kind_of(value: Any) -> str:
    """Return in a few words what `value` is, without its value; null, NaN and the like are kinds.

    >>> kind_of("5.1"), kind_of(5.1), kind_of(float("nan")), kind_of(True), kind_of([1, 2])
    ('a string of 3 characters', 'a number', 'nan', 'a boolean', 'a list of 2')
    """
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, int) or (isinstance(value, float) and math.isfinite(value)):
        return _NUMBER
    if isinstance(value, str):
        return f"a string of {len(value)} character{'' if len(value) == 1 else 's'}"
    return shown(value)


def shown(value: Any) -> str:
    """Return `value` in a few words, as JSON writes it, with its kind where that is the point.

    >>> shown("5.1"), shown(True), shown(None), shown([1, 2])
    ('the string "5.1"', 'true', 'null', 'a list of 2')
    """
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, int) and value.bit_length() > 128:
        return f"an integer of {value.bit_length()} bits"
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, str):
        # Half of a surrogate pair is legal in JSON's escapes, but no answer could carry it.
        text = json.dumps(value[:_SHOWN], ensure_ascii=False).encode("utf-8", "backslashreplace").decode()
        return f"the string {text}" + (
            f" (the first {_SHOWN} of {len(value)} characters)" if len(value) > _SHOWN else ""
        )
    if isinstance(value, list | tuple):
        return f"a list of {len(value)}"
    if isinstance(value, dict):
        return f"an object of {len(value)}"
    return f"a {type(value).__name__}"
