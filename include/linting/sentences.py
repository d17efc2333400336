"""What pydantic finds in a declaration, in plain words."""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from include.errors import did_you_mean, near_name
from include.spec import SpecModel
from include.spec.base import IDENTIFIER, FaultsError
from include.spec.features import number_text

Path = tuple[str | int, ...]

_IDENTIFIER: Final = "a lower-case letter, then at most 40 lower-case letters, digits or underscores"
_PATTERNS: Final[Mapping[str, str]] = {
    IDENTIFIER: _IDENTIFIER,
    r"^[a-z][a-z0-9_]*\.[a-z][a-z0-9_]*$": "schema.table in lower-case letters, digits and underscores",
}
_TIMEDELTA: Final = "a duration, such as timedelta(days=7)"
_BOOLEAN: Final = "True or False"

# By pydantic's type of the error: what was expected. `{name}` is a value of the error's context.
_EXPECTED: Final[Mapping[str, str]] = {
    "string_type": "text in quotes",
    "string_too_short": "text of at least {min_length} character(s)",
    "string_too_long": "text of at most {max_length} character(s)",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a number that is not infinite",
    "bool_type": _BOOLEAN,
    "bool_parsing": _BOOLEAN,
    "tuple_type": "values in brackets, such as (first, second) or (first,)",
    "literal_error": "{expected}",
    "greater_than": "a number above {gt}",
    "greater_than_equal": "a number of at least {ge}",
    "less_than": "a number below {lt}",
    "less_than_equal": "a number of at most {le}",
    "too_short": "at least {min_length} value(s)",
    "too_long": "at most {max_length} value(s)",
    "time_delta_type": _TIMEDELTA,
    "time_delta_parsing": _TIMEDELTA,
    "callable_type": "a function that takes the columns and returns an estimator",
    "is_instance_of": "an object of class {class}",
    "model_type": "{class_name}(...)",
    "union_tag_not_found": "one of the classes of include.spec for this place",
    "union_tag_invalid": "one of the classes of include.spec for this place",
    "model_attributes_type": "one of the classes of include.spec for this place",
}


class Sentence(NamedTuple):
    """A fault of one part: the path of the field in it, what is wrong, and what to do."""

    path: Path
    text: str
    hint: str = ""


def sentences_of(
    part: type[SpecModel], error: ValidationError, has_own_finding: Callable[[Any], bool]
) -> list[Sentence]:
    """Return a sentence for each fault that pydantic found in a part of a declaration.

    Parameters
    ----------
    part : type of SpecModel
        The class that was called.
    error : ValidationError
    has_own_finding : callable
        Whether a value is at fault itself, which is reported already.
    """
    details = [each for each in error.errors() if not has_own_finding(each["input"])]
    given = {str(each["loc"][0]) for each in details if each["type"] == "extra_forbidden"}
    meant = {near_name(name, part.model_fields) for name in given}
    found: list[Sentence] = []
    for each in details:
        if each["type"] == "missing" and each["loc"][0] in meant:
            continue  # it is there, under a misspelt name
        found += _sentences(part, each)
    return found


def shown(value: object) -> str:
    """Return a value of a declaration as it would be written there, shortened."""
    if isinstance(value, SpecModel):
        return f"{type(value).__name__}(...)"
    if isinstance(value, type):
        return f"the class {value.__name__}"
    if callable(value) and hasattr(value, "__name__"):
        return f"the function {value.__name__}"
    short = reprlib.Repr()
    short.maxstring = short.maxother = 80
    return short.repr(value)


def _sentences(part: type[SpecModel], details: ErrorDetails) -> list[Sentence]:
    path = _path(details["loc"])
    kind, context = details["type"], details.get("ctx", {})
    cause = context.get("error")
    if isinstance(cause, FaultsError):
        return [Sentence((*path, *fault.path), fault.message) for fault in cause.faults]
    if kind == "value_error":
        return [Sentence(path, str(cause))]
    if kind == "missing":
        return [Sentence(path[:-1], f"expected {path[-1]}=...; found none", f"Add {path[-1]}=... to {part.__name__}.")]
    if kind == "extra_forbidden":
        known = [name for name in part.model_fields if name not in ("kind", "folder")]
        hint = did_you_mean(str(path[-1]), known) or "Remove it."
        return [Sentence(path, f"expected one of the fields {', '.join(known)}; found '{path[-1]}'", hint)]
    return [Sentence(path, f"expected {_expected(kind, context)}; found {shown(details['input'])}", _hint(details))]


def _path(location: Path) -> Path:
    """Return the path without the tags that pydantic puts behind the position of a value of a union."""
    tags = {"numeric", "categorical", "boolean", "mean_score", "class_share"}
    return tuple(
        step for at, step in enumerate(location) if not (at and isinstance(location[at - 1], int) and step in tags)
    )


def _expected(kind: str, context: Mapping[str, Any]) -> str:
    if kind == "string_pattern_mismatch":
        return _PATTERNS.get(str(context.get("pattern")), f"text of the form {context.get('pattern')}")
    return _EXPECTED.get(kind, "another value").format_map(
        {name: number_text(value) if isinstance(value, float) else str(value) for name, value in context.items()}
    )


def _hint(details: ErrorDetails) -> str:
    kind, value = details["type"], details["input"]
    if kind == "literal_error" and isinstance(value, str):
        return did_you_mean(
            value, [each.strip("'") for each in details["ctx"]["expected"].replace(" or ", ", ").split(", ")]
        )
    if kind == "tuple_type" and value is not None:
        return "A tuple of one value needs a comma at its end: (value,)."
    if kind in ("is_instance_of", "model_type") and isinstance(value, type):
        return f"Call the class: {value.__name__}(...)."
    return ""
