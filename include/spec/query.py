"""A features query and what its columns are: of a declaration, or of a version."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from include.spec.features_query import same_query

if TYPE_CHECKING:
    from include.spec.features import Feature
    from include.spec.model import EntityKey, Target

SPEC_FILE: Final = "spec.py"
"""The name of the file with everything that is declared but the query."""
QUERY_FILE: Final = "features.sql"
"""The name of the file with the text, in a declaration and in an artifact."""


@dataclass(frozen=True, slots=True)
class FeatureQuery:
    """A query for a model's rows.

    The declaration has one. Each version has another, in its artifact: the one that read its training rows.

    Parameters
    ----------
    model : str
        The name of the model.
    text : str
        The text of ``features.sql``, see `include.spec.features_query`.
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
    def digest(self) -> str:
        """SHA-256 of the text in UTF-8, in hex: of the file in an artifact."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    def reads_as(self, other: FeatureQuery) -> bool:
        """Return whether the two statements differ at most in comments, space, and upper and lower case of words."""
        return same_query(self.text, other.text)
