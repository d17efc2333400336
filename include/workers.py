"""What an Airflow worker is called in Airflow's records."""

from __future__ import annotations

import socket

from include.settings import load_settings


def worker_name() -> str:
    """Return what this machine, or this worker of several on it, is called: Airflow's ``hostname_callable``."""
    return load_settings().worker_name or socket.getfqdn()
