"""Strings of tensors become codes: positions in a categorical feature's dictionary."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from include.inference.encoder import NO_CATEGORY
from include.spec import Categorical

Codes = NDArray[np.float32]
Bad = NDArray[np.bool_] | None

_PACKED: Final = 8  # strings of at most so many bytes are compared as one integer


def _known(feature: Categorical) -> dict[bytes, float]:
    return {category.encode("utf-8", "surrogatepass"): float(code) for code, category in enumerate(feature.categories)}


def words_writer(feature: Categorical) -> Callable[[Sequence[bytes], Codes], Bad]:
    """Return what writes a list of strings' codes, or says where it could not."""
    known = _known(feature)
    if feature.missing:
        known.setdefault(b"", NO_CATEGORY)
    rejects = feature.unknown == "reject"

    def write(column: Sequence[bytes], out: Codes) -> Bad:
        try:
            out[:] = [known[word] for word in column]
        except KeyError:
            if rejects:
                return np.array([word not in known for word in column], dtype=np.bool_)
            out[:] = [known.get(word, NO_CATEGORY) for word in column]
        return None

    return write


def array_writer(feature: Categorical) -> Callable[[NDArray[Any], Codes], Bad]:
    """Return what writes the codes of an array of strings that are all as long, or says where it could not."""
    known = _known(feature)
    rejects = feature.unknown == "reject"
    dictionaries: dict[int, tuple[NDArray[np.uint64], NDArray[np.float32]]] = {}

    def codes_of(column: NDArray[Any], width: int) -> NDArray[np.float32]:
        if width > _PACKED:
            return np.array([known.get(each, NO_CATEGORY) for each in column.tolist()], dtype=np.float32)
        if width not in dictionaries:  # two threads may both make it: they make the same
            dictionaries[width] = _dictionary(known, width)
        words, codes = dictionaries[width]
        if not len(words):
            return np.full(len(column), NO_CATEGORY, dtype=np.float32)
        packed = _packed(column, width)
        at = np.minimum(np.searchsorted(words, packed), len(words) - 1)
        return np.where(words[at] == packed, codes[at], np.float32(NO_CATEGORY))

    def write(column: NDArray[Any], out: Codes) -> Bad:
        if column.dtype.kind != "V":
            return np.ones(len(column), dtype=np.bool_)
        width = column.itemsize
        out[:] = codes_of(column, width)
        bad: NDArray[np.bool_] = np.equal(out, NO_CATEGORY)
        return bad if rejects and bad.any() else None

    return write


def _dictionary(known: Mapping[bytes, float], width: int) -> tuple[NDArray[np.uint64], NDArray[np.float32]]:
    """Return the categories of `width` bytes as sorted integers, and their codes."""
    words = sorted(
        (int.from_bytes(category, "little"), code) for category, code in known.items() if len(category) == width
    )
    return (
        np.array([word for word, _ in words], dtype=np.uint64),
        np.array([code for _, code in words], dtype=np.float32),
    )


def _packed(column: NDArray[Any], width: int) -> NDArray[np.uint64]:
    padded = np.zeros((len(column), _PACKED), dtype=np.uint8)
    padded[:, :width] = column.view(np.uint8).reshape(len(column), width)
    return padded.view("<u8").ravel()
