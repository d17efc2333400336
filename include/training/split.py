"""Where training ends and the holdout begins: by time, never at random."""

from __future__ import annotations

from datetime import datetime

from include.records import Period, Split
from include.spec import ModelSpec


def split_by_time(spec: ModelSpec, as_of: datetime) -> Split:
    """Return the training and holdout periods for a run at `as_of`.

    The holdout ends at the last midnight (UTC) whose labels are known by then, so all runs of a day
    see the same rows.
    """
    known = as_of - spec.target.label_delay
    end = known.replace(hour=0, minute=0, second=0, microsecond=0)
    holdout = Period(start=end - spec.window.holdout, end=end)
    train_end = holdout.start - spec.window.gap
    return Split(train=Period(start=train_end - spec.window.train, end=train_end), holdout=holdout)
