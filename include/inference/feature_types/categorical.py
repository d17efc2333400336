"""Strings of a dictionary."""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from include.inference.dictionary_codec import DictionaryCodec, build_codec
from include.inference.feature_types.base import (
    EncodeArrow,
    EncodeValue,
    FeatureType,
    FloatColumn,
    InvalidValueError,
    WriteStrings,
)
from include.inference.feature_types.column_checks import Check, in_set
from include.inference.string_columns import string_writer
from include.inference.tensor_types import BYTES
from include.spec import Categorical

if TYPE_CHECKING:
    import pyarrow as pa

NO_CATEGORY: Final = -1.0
_LISTED: Final = 20  # categories named in an error
_SIMILAR: Final = 0.8  # of difflib


class CategoricalType(FeatureType[Categorical], declaration=Categorical):
    """A string: its position in the dictionary, or -1 if missing or unknown."""

    tensor_type = BYTES
    json_tensor_type = BYTES
    tensor_types = (BYTES,)
    missing_code = NO_CATEGORY
    has_text = True

    def __init__(self, feature: Categorical) -> None:
        super().__init__(feature)
        self.rejects_unknown = feature.handle_unknown == "error"

    @property
    def expected(self) -> str:
        """What a value may be."""
        feature = self.feature
        expected = _one_of(feature.categories) if self.rejects_unknown else "a string"
        return expected + (", or null" if feature.nullable else "")

    def value_encoder(self) -> EncodeValue:
        """Return the function that encodes one string."""
        feature = self.feature
        codes = {category: float(code) for code, category in enumerate(feature.categories)}
        missing, accepts_unknown, expected = feature.nullable, not self.rejects_unknown, self.expected
        on_unknown = self.on_unknown

        def encode(value: Any) -> float:
            if type(value) is str:
                code = codes.get(value)
                if code is not None:
                    return code
                if accepts_unknown:
                    on_unknown(1)
                    return NO_CATEGORY
            if value is None and missing:
                return NO_CATEGORY
            raise InvalidValueError(expected)

        return encode

    def _codes(self) -> dict[bytes, float]:
        """Return the strings that a tensor may hold, each with its code."""
        feature = self.feature
        codes = {category.encode("utf-8", "surrogatepass"): float(at) for at, category in enumerate(feature.categories)}
        if feature.nullable:
            codes.setdefault(b"", NO_CATEGORY)
        return codes

    def string_writer(self) -> WriteStrings:
        """Return the function that writes a column of strings by the dictionary."""
        return string_writer(self._codes(), None if self.rejects_unknown else NO_CATEGORY, self.on_unknown)

    def codec(self) -> DictionaryCodec | None:
        """Return the codec of a small dictionary."""
        return build_codec(self._codes())

    @property
    def empty_is_missing(self) -> bool:
        """True where missing is allowed, unless the empty string is a category."""
        feature = self.feature
        return feature.nullable and "" not in feature.categories

    def arrow_encoder(self) -> EncodeArrow:
        """Return the function that encodes a column of strings by the dictionary."""
        from include.inference.batch import dictionary_encoder  # it needs pyarrow, which the service does not have

        return dictionary_encoder(self.feature.categories)

    def _value_schema(self) -> dict[str, Any]:
        feature = self.feature
        if self.rejects_unknown:
            return {"enum": list(feature.categories)}
        return {"type": "string", "examples": list(feature.categories[:3])}

    def example(self) -> str:
        """Return the first category."""
        feature = self.feature
        return feature.categories[0] if feature.categories else "unknown"

    def invalid_values(self) -> Iterator[tuple[Any, str]]:
        """Yield values that are not strings, or not of the dictionary."""
        yield from super().invalid_values()
        yield 7, "a number in place of a category"
        if self.rejects_unknown:
            yield "no such category", "an unknown category"

    def probe_values(self) -> Iterator[tuple[str, float]]:
        """Yield the code of each category, and of an unknown one where that is accepted."""
        for code in range(len(self.feature.categories)):
            yield "each category", float(code)
        if not self.rejects_unknown:
            yield "an unknown category", NO_CATEGORY

    def column_checks(self, column_type: str) -> Iterator[Check]:
        """Yield the checks of nulls and, where no other is accepted, of the declared categories."""
        feature = self.feature
        yield from super().column_checks(column_type)
        if feature.categories and self.rejects_unknown:
            yield in_set(feature.name, feature.categories)

    @property
    def unknown_values(self) -> str | None:
        """The condition of the rows with another string, where one is accepted."""
        if self.rejects_unknown:
            return None
        return in_set(self.feature.name, self.feature.categories).failing if self.feature.categories else None

    def near(self, value: str) -> str | None:
        """Return the category that differs in upper and lower case, space and signs alone, or in a letter or two."""
        by_letters = {_letters(category): category for category in reversed(self.feature.categories)}
        same = by_letters.get(_letters(value))
        if same is not None:
            return same
        close = difflib.get_close_matches(_letters(value), by_letters, n=1, cutoff=_SIMILAR)
        return by_letters[close[0]] if close else None

    def learn(self, train: pa.ChunkedArray) -> Categorical:
        """Return the feature with its dictionary: the declared categories, or those found in `train`; sorted."""
        feature = self.feature
        return _with_dictionary(feature, feature.categories or train.unique().drop_null().to_pylist())

    def changed_meaning(self, declared: Categorical) -> str | None:
        """Compare the dictionary with the declared categories: some gone and some new are the same ones renamed.

        Categories that were only added are unknown ones, and those that were only removed no longer occur.
        """
        ours, other = set(self.feature.categories), set(declared.categories)
        gone, new = sorted(ours - other), sorted(other - ours)
        if not (declared.categories and gone and new):
            return None
        return f"has the categories {_some(gone)}, and {_some(new)} are declared instead"

    def is_learned_from(self, declared: Categorical) -> bool:
        """Return whether the dictionary is surely that of the declared categories; they are sorted when learned."""
        return bool(declared.categories) and _with_dictionary(declared, declared.categories) == self.feature

    def refused_values(self, former: Categorical) -> str | None:
        """Compare the categories, where no other is accepted. Those that are learned again count as the same."""
        if not self.rejects_unknown:
            return super().refused_values(former)
        if former.handle_unknown != "error":
            return "accepts no other category than the known ones any more"
        gone = sorted(set(former.categories) - set(self.feature.categories)) if self.feature.categories else []
        return f"does not accept {_some(gone)} any more" if gone else super().refused_values(former)

    @property
    def learned_nothing(self) -> bool:
        """Whether there are no categories: every training row had null."""
        return not self.feature.categories

    def decoded(self, column: FloatColumn) -> list[str | None]:
        """Return the strings of the codes."""
        categories = self.feature.categories
        return [categories[int(code)] if code >= 0 else None for code in column.tolist()]

    def check_learned(self) -> None:
        """Insist on a sorted dictionary without duplicates."""
        feature = self.feature
        if list(feature.categories) != sorted(set(feature.categories)):
            raise ValueError(f"the categories of '{feature.name}' must be sorted and without duplicates")

    def slice_codes(self, column: FloatColumn) -> tuple[NDArray[np.intp], list[str]]:
        """Cut into the categories; missing and unknown are one part."""
        feature = self.feature
        return column.astype(np.intp) + 1, ["missing or unknown", *feature.categories]


def _with_dictionary(feature: Categorical, categories: Iterable[str]) -> Categorical:
    return feature.model_copy(update={"categories": tuple(sorted(set(categories)))})


def _letters(text: str) -> str:
    """Return a string without what people write in different ways: case, accents, space and signs."""
    plain = unicodedata.normalize("NFKD", text).casefold()
    return "".join(sign for sign in plain if sign.isalnum())


def _some(categories: list[str]) -> str:
    more = f" and {len(categories) - _LISTED} more" if len(categories) > _LISTED else ""
    return ", ".join(repr(category) for category in categories[:_LISTED]) + more


def _one_of(categories: tuple[str, ...]) -> str:
    listed = ", ".join(f'"{category}"' for category in categories[:_LISTED])
    more = f", ... ({len(categories)} in all)" if len(categories) > _LISTED else ""
    return f"one of {listed}{more}"
