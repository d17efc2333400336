"""How an error that nobody foresaw is logged: by kind and place.

Its message may hold what a caller sent, and so may a trace: neither is logged unless somebody asks by the level
(``SLUICE_SERVICE_LOG_LEVEL=debug``).
"""

from __future__ import annotations

import logging
import traceback


def log_unexpected(log: logging.Logger, what: str, error: Exception) -> None:
    """Log that `what` failed: the error's kind and the line that raised it, and at debug level all of it."""
    trace = error if log.isEnabledFor(logging.DEBUG) else None
    kind = type(error).__name__
    if isinstance(error, OSError) and error.strerror:  # the system's own words: they hold nothing of a caller's
        kind = f"{kind} ({error.strerror})"
    log.error("%s: %s at %s", what, kind, _place_of(error), exc_info=trace)


def _place_of(error: Exception) -> str:
    """Return the file and line that raised `error`."""
    frames = traceback.extract_tb(error.__traceback__, limit=-1)
    return f"{frames[0].filename}:{frames[0].lineno}" if frames else "an unknown place"
