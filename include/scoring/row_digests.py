"""A digest of rows that does not depend on their order, nor on their division into batches and shards.

Each row is hashed to two 64-bit numbers; the digest is their sums, modulo 2**64. So the sum of the digests of parts is
the digest of the whole, and rows that differ in one bit have another digest. It shows whether two publications are
equal. It does not protect against rows that are constructed on purpose; the database's privileges do.

Sources
-------
Sums of hashes as a digest of a set: Bellare and Micciancio, "A New Paradigm for Collision-Free Hashing:
Incrementality at Reduced Cost", 1997. The last step of each hash: MurmurHash3's ``fmix64`` (public domain).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

PREFIX = "sum128:"
_MODULUS = 1 << 64
_LANES = ((0x9E3779B97F4A7C15, 0x2545F4914F6CDD1D), (0xC2B2AE3D27D4EB4F, 0xD6E8FEB86659FD93))
"""A seed and an odd multiplier for each half of the digest."""

Sums = tuple[int, int]
NOTHING: Sums = (0, 0)


def digest_of_words(words: Sequence[NDArray[np.uint64]]) -> Sums:
    """Return the sums over rows whose content is given as columns of 64-bit words.

    Parameters
    ----------
    words : sequence of ndarray of uint64, shape (n,)
        The columns of words. Different rows must differ in at least one word, so the lengths of texts must be included.
    """
    halves = []
    for seed, multiplier in _LANES:
        state = np.full(len(words[0]), seed, dtype=np.uint64)
        factor = np.uint64(multiplier)
        for word in words:
            state ^= word
            state *= factor
            state ^= state >> np.uint64(29)
        halves.append(int(_finished(state).sum(dtype=np.uint64)))
    return halves[0], halves[1]


def combine_sums(sums: Iterable[Sums]) -> Sums:
    """Return the digest of the rows of all parts together."""
    first = second = 0
    for one, two in sums:
        first, second = (first + one) % _MODULUS, (second + two) % _MODULUS
    return first, second


def format_digest(sums: Sums) -> str:
    """Return the digest as text, as the ledger stores it."""
    return f"{PREFIX}{sums[0]:016x}{sums[1]:016x}"


def parse_digest(text: str) -> Sums:
    """Return the sums of a digest that `format_digest` wrote."""
    digits = text.removeprefix(PREFIX)
    return int(digits[:16], 16), int(digits[16:], 16)


def _finished(state: NDArray[np.uint64]) -> NDArray[np.uint64]:
    state ^= state >> np.uint64(33)
    state *= np.uint64(0xFF51AFD7ED558CCD)
    state ^= state >> np.uint64(33)
    state *= np.uint64(0xC4CEB9FE1A85EC53)
    state ^= state >> np.uint64(33)
    return state
