"""Shadow deployment: a challenger scores the champion's partitions without publishing its scores."""

from __future__ import annotations

from include.spec.divergence import DivergenceBounds


class Shadow(DivergenceBounds):
    """Bounds on a challenger's divergence from the champion, checked when a person promotes it.

    With no bound, the divergence is measured and shown, and prevents no promotion.
    """
