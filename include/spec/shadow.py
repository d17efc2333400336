"""Shadow: a challenger scores every partition beside the champion, and its promotion by hand looks at how far it is."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from include.spec.words import Word

Share = Annotated[float, Field(ge=0, le=1)]


class Shadow(Word):
    """Bounds on how far a challenger's scores may be from the champion's for a person to promote it.

    With every bound at None, as it stands, the divergence is measured and shown, and refuses nothing.
    """

    least_rank_correlation: Annotated[float, Field(ge=-1, le=1)] | None = None
    most_decile_moves: Share | None = None
    most_label_flips: Share | None = None
