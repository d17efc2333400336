"""The rows of a holdout, found again among the rows that another version's query gives for the same period."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from include.spec import FeatureQuery

MAX_LEFT_OUT: Final = 0.01


@dataclass(frozen=True, eq=False, slots=True)
class MatchedRows:
    """A holdout and the rows of another query, matched by entity key and event time.

    Attributes
    ----------
    rows : pyarrow.Table
        Rows of the other query: those of `kept`, in the order of the holdout.
    kept : ndarray of bool, shape (n_samples,)
        The rows of the holdout that the other query gives, too.
    obstacle : str or None
        Why the two cannot be compared; None: they can.
    """

    rows: pa.Table
    kept: NDArray[np.bool_]
    obstacle: str | None

    @property
    def left_out(self) -> int:
        """The number of rows of the holdout that the other query does not give."""
        return int((~self.kept).sum())


def match_rows(holdout: pa.Table, query: FeatureQuery, rows: pa.Table, other: FeatureQuery) -> MatchedRows:
    """Find each row of `holdout` among `rows`.

    Rows that only the other query gives are ignored: they are not part of the holdout. Up to 1% of the holdout may be
    missing, such as rows that changed since the snapshot. If more are, the two queries choose other rows, and a
    comparison on the common ones would not say how the champion does on the others.

    Parameters
    ----------
    holdout, rows : pyarrow.Table
        Each with the key and the event time of its query; the keys are of the same type.
    """
    pairs = _identity(holdout, query, "ours").join(
        _identity(rows, other, "theirs"), keys=["key", "time"], join_type="inner", use_threads=False
    )
    pairs = pairs.sort_by("ours")
    ours = np.asarray(pairs.column("ours").to_numpy(), dtype=np.int64)
    kept = np.zeros(holdout.num_rows, dtype=np.bool_)
    kept[ours] = True
    return MatchedRows(rows.take(pairs.column("theirs")), kept, _obstacle(kept, len(ours)))


def _identity(rows: pa.Table, query: FeatureQuery, position: str) -> pa.Table:
    return pa.table(
        {
            "key": rows.column(query.entity_key.column),
            "time": rows.column(query.event_time),
            position: pa.array(np.arange(rows.num_rows)),
        }
    )


def _obstacle(kept: NDArray[np.bool_], pairs: int) -> str | None:
    missing = int((~kept).sum())
    if missing > MAX_LEFT_OUT * len(kept):
        return (
            f"its own features.sql gives only {len(kept) - missing:,} of the holdout's {len(kept):,} rows, matched by "
            f"entity key and event time; at most {MAX_LEFT_OUT:.0%} may be missing"
        )
    if pairs > len(kept) - missing:
        return "its own features.sql gives rows of the holdout twice: the same entity key and event time"
    return None
