"""The reason that a person gives for a decision, which the ledger keeps permanently. The one rule for all of them."""

from __future__ import annotations

import unicodedata
from typing import Final

from include.errors import ReasonError

MIN_CHARACTERS: Final = 10

_JOINERS: Final = "\u200c\u200d"
# Letters and a symbol by their category, but they show nothing: the fillers of Hangul, and the blank of Braille.
_BLANK: Final = "\u115f\u1160\u3164\uffa0\u2800"


def check_reason(text: str, name: str = "--reason") -> str:
    """Return a reason as it is stored: trimmed, with a single space for each run of whitespace.

    Whitespace of any kind, control characters and invisible characters (such as a no-break or a zero-width space) are
    whitespace: alone, they are no reason, and a line break would spoil the table of `sluice history`.

    Parameters
    ----------
    text : str
    name : str
        What the person filled in, for the message.

    Raises
    ------
    ReasonError
        When fewer than 10 visible characters and single spaces are left.
    """
    words = "".join(" " if _is_space(each) else each for each in text).split()
    stored = " ".join(word for each in words if (word := each.strip(_JOINERS)))
    seen = sum(not unicodedata.category(each).startswith(("C", "M")) for each in stored)
    if seen < MIN_CHARACTERS:
        raise ReasonError(name, MIN_CHARACTERS, stored, seen)
    return stored


def _is_space(character: str) -> bool:
    """Return whether it is whitespace, or nothing to see. Joiners stay: some scripts need them within a word."""
    if character in _JOINERS:
        return False
    category = unicodedata.category(character)
    return category[0] == "Z" or category in ("Cc", "Cf", "Cs") or character in _BLANK
