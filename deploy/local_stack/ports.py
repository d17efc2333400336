"""Ports: the one that was asked for, or the next that is free."""

from __future__ import annotations

from collections.abc import Collection

from include.errors import LocalStackError
from include.ports import is_free

TRIED = 200


def free_port(wanted: int, host: str = "127.0.0.1", *, spoken_for: Collection[int] = ()) -> int:
    """Return `wanted`, or the first free port after it.

    Parameters
    ----------
    spoken_for : collection of int
        Ports that were promised to a process that does not listen yet.

    Raises
    ------
    LocalStackError
        When none of the next 200 is free.
    """
    last = min(wanted + TRIED, 65535)
    for port in range(wanted, last + 1):
        if port not in spoken_for and is_free(port, host):
            return port
    raise LocalStackError(
        f"expected a free port on {host} from {wanted} to {last}; found every one taken.",
        "Set SLUICE_AIRFLOW_PORT and SLUICE_SERVICE_PORT to ports that are free.",
    )
