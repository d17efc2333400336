"""Shadow: a challenger scores every partition beside the champion, and its promotion by hand looks at how far it is."""

from __future__ import annotations

from include.spec.divergence import DivergenceBounds


class Shadow(DivergenceBounds):
    """Bounds on how far a challenger's scores may be from the champion's for a person to promote it.

    With every bound at None, as it stands, the divergence is measured and shown, and refuses nothing.
    """
