"""The limit of open descriptors of the process."""

from __future__ import annotations

import logging
import resource

log = logging.getLogger("model_service")


def raise_descriptor_limit() -> None:
    """Raise the soft limit of open descriptors to the hard one, which workers inherit; log a warning if that fails."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == hard:
        return
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError) as error:  # macOS refuses an unlimited hard limit
        log.warning("the limit of open descriptors stays at %s: it cannot be raised to %s (%s)", soft, hard, error)
