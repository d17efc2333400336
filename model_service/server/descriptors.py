"""The limit of open descriptors of the process, and how many connections it allows."""

from __future__ import annotations

import logging
import resource
from typing import Final

OTHER_DESCRIPTORS: Final = 100  # of a worker, beside its connections: files, pipes, the database

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


def affordable_connections(limit: int) -> int:
    """Return `limit`, or fewer connections if a worker has no descriptors for so many; then log a warning."""
    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    affordable = (descriptors - OTHER_DESCRIPTORS) * 2 // 3  # for a while, a worker accepts half as many again
    if descriptors == resource.RLIM_INFINITY or affordable >= limit:
        return limit
    log.warning(
        "a worker keeps at most %s connections instead of SLUICE_SERVICE_MAX_CONNECTIONS (%s): a process "
        "may open %s descriptors only. Raise the hard limit of open descriptors (ulimit -Hn)",
        max(affordable, 1),
        limit,
        descriptors,
    )
    return max(affordable, 1)
