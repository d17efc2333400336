"""Logs an unexpected exception by its class and place.

Its message and its traceback may contain data of a caller: they are logged at the level debug only
(``SLUICE_SERVICE_LOG_LEVEL=debug``).
"""

from __future__ import annotations

import logging
import traceback


def log_unexpected(log: logging.Logger, what: str, error: Exception) -> None:
    """Log `what` with the class of the error and the line that raised it; at level debug with the traceback."""
    trace = error if log.isEnabledFor(logging.DEBUG) else None
    kind = type(error).__name__
    if isinstance(error, OSError) and error.strerror:  # the text of the system contains no data of a caller
        kind = f"{kind} ({error.strerror})"
    log.error("%s: %s at %s", what, kind, _place_of(error), exc_info=trace)


def _place_of(error: Exception) -> str:
    """Return the file and line that raised `error`."""
    frames = traceback.extract_tb(error.__traceback__, limit=-1)
    return f"{frames[0].filename}:{frames[0].lineno}" if frames else "an unknown place"
