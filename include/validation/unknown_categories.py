"""Categories that a version does not know: how many rows have one, and which known category was probably meant.

The model takes an unknown category for a missing value, so nothing fails: `MALE` in place of `male` in every row gives
scores as good as without the feature.
"""

from __future__ import annotations

from typing import Final

from include.inference.feature_types import feature_type
from include.records import UnknownCategories
from include.spec import FeatureQuery
from include.validation.scratch import Scratch

_NAMED: Final = 5
_COMPARED: Final = 100  # of the most frequent unknown categories


def find_unknown(query: FeatureQuery, scratch: Scratch) -> tuple[UnknownCategories, ...]:
    """Return the features of which rows have a category that the version does not know, in the order of the query."""
    types = [feature_type(feature) for feature in query.features]
    conditions = [(each, each.unknown_values) for each in types]
    asked = [(each, condition) for each, condition in conditions if condition is not None]
    counts = scratch.count_failing([condition for _, condition in asked])
    found = []
    for (each, condition), rows in zip(asked, counts, strict=True):
        if rows:
            name = each.feature.name
            values = scratch.frequent_values(name, condition, _COMPARED)
            pairs = ((value, each.near(value)) for value, _ in values if value is not None)
            near = [(value, known) for value, known in pairs if known is not None]
            found.append(UnknownCategories(feature=name, rows=rows, near=dict(near[:_NAMED])))
    return tuple(found)
