"""Errors of what people do with incidents."""

from __future__ import annotations

from include.errors.base import SluiceError


class IncidentError(SluiceError):
    """There is no such incident or silence, or it has ended."""

    alerts = False
