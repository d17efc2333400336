"""Names of columns as identifiers, and what a name says about its column."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Container, Iterable

_LENGTH = 41
_SYSTEM = ("tableoid", "xmin", "cmin", "xmax", "cmax", "ctid")
_ID = re.compile(r"(^|_)(id|ids|key|uuid|guid|pk|no|nr|num|number|index|idx|rownames?|rownum|row|code|seq)$")
_TARGETS = ("target", "label", "y", "outcome", "class", "response", "is_target", "result", "churn", "churned")
_TIMES = (
    "event_time",
    "observed_at",
    "occurred_at",
    "event_at",
    "created_at",
    "timestamp",
    "time",
    "ts",
    "date",
    "day",
)


def identifier(name: str, taken: Container[str] = ()) -> str:
    """Return a name of small ASCII letters, digits and underscores that is like `name`, and not `taken`."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    plain = re.sub(r"(?<=[a-z0-9])(?=[A-Z][a-z])", "_", plain).lower()
    plain = re.sub(r"[^a-z0-9]+", "_", plain).strip("_")
    if not plain or not plain[0].isalpha() or plain in _SYSTEM:
        plain = f"column_{plain}".rstrip("_")
    plain = plain[:_LENGTH].rstrip("_")
    unique, number = plain, 1
    while unique in taken:
        number += 1
        unique = f"{plain[: _LENGTH - len(str(number)) - 1]}_{number}"
    return unique


def identifiers(names: Iterable[str]) -> dict[str, str]:
    """Return an identifier for each name; names that are identifiers already keep theirs."""
    listed = list(names)
    found = {name: name for name in listed if identifier(name) == name}
    for name in listed:
        if name not in found:
            found[name] = identifier(name, set(found.values()))
    return {name: found[name] for name in listed}


def is_like_key(name: str) -> bool:
    """Return whether a column of this name usually identifies something."""
    return _ID.search(identifier(name)) is not None


def target_rank(name: str) -> int:
    """Return how likely a column of this name is the target: the lower, the more; a high number for all others."""
    plain = identifier(name)
    return _TARGETS.index(plain) if plain in _TARGETS else len(_TARGETS)


def time_rank(name: str) -> int:
    """Return how likely a column of this name is the event time: the lower, the more."""
    plain = identifier(name)
    return _TIMES.index(plain) if plain in _TIMES else len(_TIMES)


def printable(text: str) -> str:
    """Return `text` on one line, for comments and messages."""
    return "".join(character if character.isprintable() else "?" for character in text)
