"""A features query and the meaning of its columns: those of a declaration, or those of a version."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from include.spec.features import Feature
    from include.spec.model import EntityKey, Target

QUERY_FILE: Final = "features.sql"
"""The name of the file with the text, in a declaration and in an artifact."""

_QUOTED: Final = re.compile(r"""('(?:[^']|'')*'|"(?:[^"]|"")*")""")
_SKIPPED: Final = re.compile(rf"{_QUOTED.pattern}|--[^\n]*|/\*.*?\*/|\s+", re.DOTALL)


@dataclass(frozen=True, slots=True)
class FeatureQuery:
    """A query for a model's rows.

    The declaration has one. Each version has another, in its artifact: the one that read its training rows.

    Parameters
    ----------
    model : str
        The name of the model.
    text : str
        The text of ``features.sql``, as the file has it. It binds ``:period_start`` and ``:period_end``.
    entity_key : EntityKey
    event_time : str
        The column of the event time.
    features : tuple of Feature
    target : Target or None
        The column of the label; None when it is not known, and then no labelled rows can be read.
    """

    model: str
    text: str
    entity_key: EntityKey
    event_time: str
    features: tuple[Feature, ...]
    target: Target | None = None

    @property
    def sql(self) -> str:
        """The statement, without space around it and without a semicolon at its end."""
        return self.text.strip().rstrip(";")

    @property
    def digest(self) -> str:
        """SHA-256 of the file's bytes, in hex."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    def reads_as(self, other: FeatureQuery) -> bool:
        """Return whether the two statements differ at most in comments, space, and upper and lower case of words."""
        return _normalised(self.sql) == _normalised(other.sql)


def _normalised(sql: str) -> tuple[str, ...]:
    """Return the statement in pieces: quoted ones unchanged, between them all others without space and comments."""
    pieces = _QUOTED.split(_SKIPPED.sub(lambda found: found[1] or "", sql))
    return tuple(piece if at % 2 else piece.lower() for at, piece in enumerate(pieces))
