"""The name of a worker in Airflow's records."""

from __future__ import annotations

import socket

from include.settings import load_settings


def worker_name() -> str:
    """Return the name of this machine, or of this worker if it has several: Airflow's ``hostname_callable``."""
    return load_settings().worker_name or socket.getfqdn()
