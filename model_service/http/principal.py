"""Whoever asks, as their token describes them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Principal:
    """The bearer of a verified token.

    Attributes
    ----------
    subject : str
        ``sub``: whom limits count and logs name.
    scopes : frozenset of str
        What the principal may ask for.
    models : frozenset of str or None
        Which models; None: all.
    expires : float
        Until when this holds, in seconds since the epoch, the bounded clock skew included.
    """

    subject: str
    scopes: frozenset[str]
    models: frozenset[str] | None
    expires: float

    def can_access(self, model: str) -> bool:
        """Tell whether the principal may ask `model`."""
        return self.models is None or model in self.models
