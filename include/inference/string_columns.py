"""Strings of tensors become codes: positions in a categorical feature's dictionary.

Thousands of short strings in one piece of memory are never made into Python objects: each is two
integers, which are looked up in a hash table without collisions, all at once.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from struct import Struct
from typing import Final, NamedTuple, overload

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.float32]
Integers = NDArray[np.uint64]
InvalidMask = NDArray[np.bool_] | None

LENGTH_PREFIX: Final = Struct("<I")  # of a string, before it in a tensor
PADDING: Final = bytes(16)
_SHORT: Final = 7  # bytes of a string that fits one integer beside its length
_LONGEST: Final = 15  # and two integers
_MOST_WORDS: Final = 512
_BITS: Final = range(4, 17)  # of the table's size
_TRIALS: Final = 32
_LOW: Final = np.array([(1 << 8 * min(size, 8)) - 1 for size in range(_LONGEST + 1)], dtype=np.uint64)
_HIGH: Final = np.array([(1 << 8 * max(size - 8, 0)) - 1 for size in range(_LONGEST + 1)], dtype=np.uint64)
# The last byte of an integer is the string's length: of the first one, if it holds the whole string, or of the second.
_LOW_TOP: Final = np.array([size << 56 if size <= _SHORT else 0 for size in range(_LONGEST + 1)], dtype=np.uint64)
_HIGH_TOP: Final = np.array([size << 56 if size > _SHORT else 0 for size in range(_LONGEST + 1)], dtype=np.uint64)
_MIX: Final = np.uint64(0x9E3779B97F4A7C15)  # 2^64 over the golden ratio: Knuth, The Art of Computer Programming, 6.4
_NOBODY: Final = np.uint64(2**64 - 1)  # an integer of no string


def length_prefixed(word: bytes) -> bytes:
    """Return a string as it stands in a tensor: after its length."""
    return LENGTH_PREFIX.pack(len(word)) + word


class StringSequence(Sequence[bytes]):
    """Strings of which one becomes a Python object only when somebody looks at it."""

    __slots__ = ()

    @abstractmethod
    def _one(self, at: int) -> bytes:
        """Return the string at a position."""

    @overload
    def __getitem__(self, at: int) -> bytes: ...

    @overload
    def __getitem__(self, at: slice) -> list[bytes]: ...

    def __getitem__(self, at: int | slice) -> bytes | list[bytes]:
        if isinstance(at, slice):
            return [self._one(each) for each in range(*at.indices(len(self)))]
        return self._one(at)


class StringColumn(StringSequence):
    """Strings that lie in one piece of memory, which ends with `PADDING` that belongs to no string."""

    __slots__ = ()

    # How many bytes each string has: of all, or of each, shape (n,).
    _sizes: int | NDArray[np.int64]

    def packed(self) -> tuple[Integers, Integers | None] | None:
        """Return each string as two integers, equal where strings are; None if one is too long for that.

        The second is zero for a string that the first one holds, and None when all strings are such.
        """
        sizes = self._sizes
        longest = sizes if isinstance(sizes, int) else int(np.maximum.reduce(sizes, initial=0))
        if longest > _LONGEST:
            return None
        low: Integers = (self._from(0) & _LOW[sizes]) | _LOW_TOP[sizes]
        if longest <= _SHORT:
            return low, None
        high: Integers = (self._from(8) & _HIGH[sizes]) | _HIGH_TOP[sizes]
        return low, high

    @abstractmethod
    def _from(self, offset: int) -> Integers:
        """Return of each string the eight bytes from `offset` on, whether they are its own or not."""


class FixedWidthStrings(StringColumn):
    """Strings that are all as long, each after its length in `LENGTH_PREFIX.size` bytes.

    Parameters
    ----------
    octets : bytes
    count : int
    size : int
        How many bytes each has.
    """

    __slots__ = ("_count", "_octets", "_sizes")

    _sizes: int

    def __init__(self, octets: bytes, count: int, size: int) -> None:
        self._octets, self._count, self._sizes = octets, count, size

    def __len__(self) -> int:
        return self._count

    def _one(self, at: int) -> bytes:
        step = LENGTH_PREFIX.size + self._sizes
        start = range(LENGTH_PREFIX.size, LENGTH_PREFIX.size + self._count * step, step)[at]
        return self._octets[start : start + self._sizes]

    def _from(self, offset: int) -> Integers:
        return np.ndarray(
            (self._count,), "<u8", self._octets, LENGTH_PREFIX.size + offset, (LENGTH_PREFIX.size + self._sizes,)
        )


class OffsetStrings(StringColumn):
    """Strings of which each has a place and a length of its own.

    Parameters
    ----------
    octets : bytes
    starts, sizes : ndarray of int64, shape (n,)
        Where each begins, and how many bytes it has.
    """

    __slots__ = ("_octets", "_sizes", "_starts")

    _sizes: NDArray[np.int64]

    def __init__(self, octets: bytes, starts: NDArray[np.int64], sizes: NDArray[np.int64]) -> None:
        self._octets, self._starts, self._sizes = octets, starts, sizes

    @classmethod
    def of(cls, words: Sequence[bytes]) -> OffsetStrings:
        """Put `words` into one piece."""
        sizes = np.array([len(word) for word in words], dtype=np.int64)
        return cls(b"".join(words) + PADDING, np.cumsum(sizes) - sizes, sizes)

    def __len__(self) -> int:
        return len(self._starts)

    def _one(self, at: int) -> bytes:
        start = int(self._starts[at])
        return self._octets[start : start + int(self._sizes[at])]

    def _from(self, offset: int) -> Integers:
        places = len(self._octets) - len(PADDING) + 1  # views that overlap, of which the starts are taken
        return np.ndarray((places,), "<u8", self._octets, offset, (1,)).take(self._starts)


class _Table(NamedTuple):
    """A hash table in which each word of a dictionary has a place of its own."""

    multiplier: Integers
    shift: np.uint64
    low: Integers
    high: Integers
    short: Integers
    codes: Codes

    def find(self, low: Integers, high: Integers | None) -> tuple[Codes, NDArray[np.bool_]]:
        at = _places(low, high, self.multiplier, self.shift)
        if high is None:
            return self.codes.take(at), self.short.take(at) == low
        return self.codes.take(at), (self.low.take(at) == low) & (self.high.take(at) == high)


def _places(low: Integers, high: Integers | None, multiplier: Integers, shift: np.uint64) -> NDArray[np.int64]:
    mixed = low if high is None else low ^ (high * _MIX)
    return ((mixed * multiplier) >> shift).view(np.int64)


def _table(known: Mapping[bytes, float]) -> _Table | None:
    """Return a table of the words that fit, found by trying; None when there are too many words for that."""
    words = [word for word in known if len(word) <= _LONGEST]
    if len(words) > _MOST_WORDS or (packed := OffsetStrings.of(words).packed()) is None:
        return None
    low, high = packed[0], np.zeros_like(packed[0]) if packed[1] is None else packed[1]
    draw = np.random.default_rng(len(words))
    for bits in _BITS:
        shift = np.uint64(64 - bits)
        for _ in range(_TRIALS if 2**bits > len(words) else 0):
            multiplier = draw.integers(0, 2**63, 1, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
            at = _places(low, high, multiplier, shift)
            if len(np.unique(at)) == len(words):
                nobody = np.full(2**bits, _NOBODY)
                table = _Table(multiplier, shift, nobody, nobody.copy(), nobody.copy(), np.zeros(2**bits, np.float32))
                table.low[at], table.high[at], table.codes[at] = low, high, [known[word] for word in words]
                table.short[at] = np.where(high == 0, low, _NOBODY)
                return table
    return None


def string_writer(
    known: Mapping[bytes, float], default: float | None, on_default: Callable[[int], None] = lambda _strings: None
) -> Callable[[Sequence[bytes], Codes], InvalidMask]:
    """Return the function that writes the codes of strings, or returns where it could not.

    Parameters
    ----------
    known : mapping of bytes to float
        The code of each string of the dictionary.
    default : float or None
        The code of any other string; None: it is invalid.
    on_default : callable, optional
        Is told how many strings of a column got the code `default`, if there are some.
    """
    table = _table(known)

    def write_each(column: Sequence[bytes], out: Codes) -> InvalidMask:
        try:
            out[:] = [known[word] for word in column]
        except KeyError:
            if default is None:
                return np.array([word not in known for word in column], dtype=np.bool_)
            out[:] = [known.get(word, default) for word in column]
            on_default(sum(word not in known for word in column))
        return None

    def write(column: Sequence[bytes], out: Codes) -> InvalidMask:
        packed = column.packed() if isinstance(column, StringColumn) and table is not None else None
        if packed is None or table is None:
            return write_each(column, out)
        codes, found = table.find(*packed)
        out[:] = codes
        if np.count_nonzero(found) == len(found):
            return None
        unknown: NDArray[np.bool_] = ~found
        if default is None:
            return unknown
        out[unknown] = default
        on_default(int(np.count_nonzero(unknown)))
        return None

    return write
