"""Strings of a small dictionary become codes by one search a word, in C, over a tensor's bytes as they come.

A string stands in a tensor after its length in 4 bytes. Each known string is replaced, with its length, by a mark:
a byte that ASCII does not have. If nothing but marks is left, the tensor was made of these strings and no others:
no string with its length before it is the beginning of another one, so that bytes are strings in one way at most.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from include.inference.string_columns import StringSequence, length_prefixed

MAX_STRINGS: Final = 8  # each costs a search
_LONGEST: Final = 64
_FIRST_MARK: Final = 128
_MARKS: Final = bytes(range(_FIRST_MARK, 256))


class DictionaryArray(StringSequence):
    """Strings, each known by its mark.

    Parameters
    ----------
    marks : ndarray of uint8, shape (n,)
    words : sequence of bytes
        The strings of the marks from 128 on.
    codes : ndarray of float32, shape (n,)
        What a categorical feature's encoding has for them.
    """

    __slots__ = ("_marks", "_words", "codes")

    def __init__(self, marks: NDArray[np.uint8], words: Sequence[bytes], codes: NDArray[np.float32]) -> None:
        self._marks, self._words, self.codes = marks, words, codes

    def __len__(self) -> int:
        return len(self._marks)

    def _one(self, at: int) -> bytes:
        return self._words[int(self._marks[at]) - _FIRST_MARK]


class DictionaryCodec:
    """Reads tensors of the strings that a feature knows.

    Parameters
    ----------
    known : mapping of bytes to float
        Each with its code. No more than `MAX_STRINGS`, of ASCII; see `build_codec`.
    """

    def __init__(self, known: Mapping[bytes, float]) -> None:
        self._words = tuple(known)
        marks = range(_FIRST_MARK, _FIRST_MARK + len(known))
        self._steps = [(length_prefixed(word), bytes((mark,))) for word, mark in zip(known, marks, strict=True)]
        self._codes = np.zeros(256, dtype=np.float32)
        self._codes[list(marks)] = list(known.values())

    def read(self, data: bytes, elements: int) -> DictionaryArray | None:
        """Return the strings of a tensor; None if others may be among them, or not so many."""
        if not data.isascii():
            return None
        for string, mark in self._steps:
            data = data.replace(string, mark)
        if len(data) != elements or data.translate(None, _MARKS):
            return None
        marks = np.frombuffer(data, dtype=np.uint8)
        return DictionaryArray(marks, self._words, self._codes.take(marks))


def build_codec(known: Mapping[bytes, float]) -> DictionaryCodec | None:
    """Return what reads tensors of these strings, if there are few enough, and all short and of ASCII."""
    fit = all(len(word) <= _LONGEST and word.isascii() for word in known)
    return DictionaryCodec(known) if fit and len(known) <= MAX_STRINGS else None
