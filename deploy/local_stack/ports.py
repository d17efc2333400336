"""Ports: the preferred one, or the next that is free."""

from __future__ import annotations

from collections.abc import Collection

from deploy.local_stack.errors import LocalStackError
from include.ports import is_free

MAX_OFFSET = 200


def free_port(preferred: int, host: str = "127.0.0.1", *, reserved: Collection[int] = ()) -> int:
    """Return `preferred`, or the first free port after it.

    Parameters
    ----------
    reserved : collection of int
        Ports that were given to a process that does not listen yet.

    Raises
    ------
    LocalStackError
        When none of the next 200 ports is free.
    """
    last = min(preferred + MAX_OFFSET, 65535)
    for port in range(preferred, last + 1):
        if port not in reserved and is_free(port, host):
            return port
    raise LocalStackError(
        f"expected a free port on {host} from {preferred} to {last}; all of them are in use.",
        "Set SLUICE_AIRFLOW_PORT and SLUICE_SERVICE_PORT to ports that are free.",
    )
