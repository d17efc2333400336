"""The labels of a model's classes, and the columns that hold their probabilities."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Final

from pydantic import AfterValidator

BOOLEAN_CLASSES: Final = ("false", "true")
"""The classes of a boolean target; the second one is the positive one."""
_MAX_LABEL: Final = 100
_MAX_COLUMN: Final = 40
_PREFIX: Final = "p_"


def _printable(label: str) -> str:
    if not 0 < len(label) <= _MAX_LABEL or not label.isprintable():
        raise ValueError(
            f"expected a class label of 1 to {_MAX_LABEL} printable characters; found {label[: _MAX_LABEL + 1]!r}"
        )
    return label


ClassLabel = Annotated[str, AfterValidator(_printable)]


def class_columns(classes: Sequence[str]) -> dict[str, str]:
    """Return the column of each class's probability in the score table, by label and in the order of the classes.

    It is ``p_`` and the label in small letters, with an underscore for all that a name in SQL cannot have:
    ``p_on_time`` for "On time". Labels that would share a column get a part of their digest as well, except for one
    that needed no change. So the columns do not depend on the order of the classes.
    """
    names = {label: _column(label) for label in classes}
    shared = {name for name, count in Counter(names.values()).items() if count > 1}
    return {
        label: possible_columns(label)[1] if name in shared and name != _PREFIX + label else name
        for label, name in names.items()
    }


def possible_columns(label: str) -> tuple[str, str]:
    """Return the two names that the column of a label can have: alone, and beside a label that would share it."""
    name = _column(label)
    return name, f"{name}_{hashlib.sha256(label.encode()).hexdigest()[:8]}"


def _column(label: str) -> str:
    plain = unicodedata.normalize("NFKD", label).encode("ascii", "ignore").decode().lower()
    return _PREFIX + re.sub(r"[^a-z0-9_]+", "_", plain)[:_MAX_COLUMN]
