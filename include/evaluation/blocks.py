"""Blocks of time: rows of the same block are assumed to be dependent, rows of different blocks independent.

Source: Künsch (1989), The jackknife and the bootstrap for general stationary observations. Annals of
Statistics 17; here with blocks that do not overlap (Carlstein, 1986).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import numpy as np
from numpy.typing import NDArray

MIN_BLOCKS = 10
MIN_LENGTH = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Blocks:
    """The block of each row.

    Attributes
    ----------
    of_row : ndarray of int, shape (n_samples,)
        Block numbers from 0, without gaps.
    count : int
    description : str
        The length of a block, and the reason if it is not the declared one.
    """

    of_row: NDArray[np.intp]
    count: int
    description: str

    def of(self, rows: NDArray[np.bool_]) -> Blocks:
        """Return the blocks of some of the rows."""
        seen, of_row = np.unique(self.of_row[rows], return_inverse=True)
        return Blocks(of_row, len(seen), self.description)

    def resample(self, n_resamples: int, seed: int) -> NDArray[np.float32]:
        """Return how often each block is drawn in each resample, shape (n_resamples, count)."""
        chances = np.full(self.count, 1.0 / self.count)
        return np.random.default_rng(seed).multinomial(self.count, chances, size=n_resamples).astype(np.float32)


def blocks_of(times: NDArray[np.int64], length: timedelta) -> Blocks:
    """Cut the holdout into blocks.

    Parameters
    ----------
    times : ndarray of int64, shape (n_samples,)
        Event times, microseconds since 1970.
    length : timedelta
        The declared length. It is halved until there are at least 10 blocks with rows. If that does not succeed, the
        rows are cut into 10 blocks with equal numbers of rows, in order of time.
    """
    declared = length
    while True:
        step = int(length / timedelta(microseconds=1))
        seen, of_row = np.unique(times // step, return_inverse=True)
        if len(seen) >= MIN_BLOCKS or length <= MIN_LENGTH:
            break
        length /= 2
    if len(seen) >= MIN_BLOCKS:
        why = "" if length == declared else f" (instead of {declared}, which gives fewer than {MIN_BLOCKS})"
        return Blocks(of_row, len(seen), f"{len(seen)} blocks of {length}{why}")
    count = min(MIN_BLOCKS, len(times))
    of_row = np.empty(len(times), dtype=np.intp)
    of_row[np.argsort(times, kind="stable")] = np.arange(len(times)) * count // max(1, len(times))
    return Blocks(
        of_row, count, f"{count} blocks with equal numbers of rows: the event times are too close for blocks of time"
    )
