"""The authenticated caller of a request."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Principal:
    """The bearer of a verified token.

    Attributes
    ----------
    subject : str
        The claim ``sub``: rate limits count by it and logs name it.
    scopes : frozenset of str
        The granted scopes.
    models : frozenset of str or None
        The models that the token grants access to; None: all.
    expires : float
        End of validity in seconds since the epoch, including the leeway for clock skew.
    """

    subject: str
    scopes: frozenset[str]
    models: frozenset[str] | None
    expires: float

    def can_access(self, model: str) -> bool:
        """Return whether the token grants access to `model`."""
        return self.models is None or model in self.models
