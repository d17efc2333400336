"""How a value that does not fit is named: where it stood, what was expected, what came."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Final

MOST_FAULTS: Final = 20

_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SHOWN = 60  # characters of a value: enough to recognise it, too few to flood an answer


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong with a request.

    Parameters
    ----------
    path : str
        JSON path, such as ``$.features.carrier`` or ``$.features[3]``.
    expected, found : str
        Phrases that stand alone.
    """

    path: str
    expected: str
    found: str

    def __str__(self) -> str:
        return f"{self.path}: expected {self.expected}; found {self.found}"


def member(path: str, name: object) -> str:
    """Return the JSON path of the member `name` of the object at `path`."""
    text = str(name)
    if len(text) > _SHOWN:
        text = text[:_SHOWN] + "..."
    return f"{path}.{text}" if _PLAIN_NAME.fullmatch(text) else f"{path}[{json.dumps(text)}]"


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
