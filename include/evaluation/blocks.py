"""Stretches of time: rows of the same one are taken to resemble each other, rows of different ones not.

Source: Künsch (1989), The jackknife and the bootstrap for general stationary observations. Annals of
Statistics 17; here with blocks that do not overlap (Carlstein, 1986).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import numpy as np
from numpy.typing import NDArray

FEWEST = 10
SHORTEST = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Blocks:
    """Which block each row belongs to.

    Attributes
    ----------
    of_row : ndarray of int, shape (n_samples,)
        From 0, without gaps.
    count : int
    told : str
        How long a block is, and why, if not as declared.
    """

    of_row: NDArray[np.intp]
    count: int
    told: str

    def of(self, rows: NDArray[np.bool_]) -> Blocks:
        """Return the blocks of some of the rows."""
        seen, of_row = np.unique(self.of_row[rows], return_inverse=True)
        return Blocks(of_row, len(seen), self.told)

    def drawn(self, resamples: int, seed: int) -> NDArray[np.float32]:
        """Return how often each block is drawn in each resample, shape (resamples, count)."""
        chances = np.full(self.count, 1.0 / self.count)
        return np.random.default_rng(seed).multinomial(self.count, chances, size=resamples).astype(np.float32)


def blocks_of(times: NDArray[np.int64], length: timedelta) -> Blocks:
    """Cut the holdout into blocks.

    Parameters
    ----------
    times : ndarray of int64, shape (n_samples,)
        Event times, microseconds since 1970.
    length : timedelta
        As declared. It is halved until there are at least 10 blocks with rows; where that does not
        help, the rows are cut into 10 stretches of equal count, in order of time.
    """
    wanted = length
    while True:
        step = int(length / timedelta(microseconds=1))
        seen, of_row = np.unique(times // step, return_inverse=True)
        if len(seen) >= FEWEST or length <= SHORTEST:
            break
        length /= 2
    if len(seen) >= FEWEST:
        why = "" if length == wanted else f" (not {wanted}: that would have made fewer than {FEWEST})"
        return Blocks(of_row, len(seen), f"{len(seen)} blocks of {length}{why}")
    count = min(FEWEST, len(times))
    of_row = np.empty(len(times), dtype=np.intp)
    of_row[np.argsort(times, kind="stable")] = np.arange(len(times)) * count // max(1, len(times))
    return Blocks(of_row, count, f"{count} blocks of as many rows each: the times are too close for blocks of time")
