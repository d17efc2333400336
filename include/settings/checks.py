"""Checks of the environment that types cannot express: unknown variables, and database URLs."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from difflib import get_close_matches
from types import MappingProxyType
from typing import Final

PREFIX: Final = "SLUICE_"

OTHER_VARIABLES: Final = MappingProxyType(
    {
        "SLUICE_LOCAL_STACK": "deploy/local_stack marks its processes with it",
        "SLUICE_SETUP_LOCKED": "deploy/bootstrap/setup.sh",
        "SLUICE_CHAOS_KILLS": "tests/e2e",
        **dict.fromkeys(
            (
                "SLUICE_AIRFLOW_DB_PASSWORD",
                "SLUICE_AIRFLOW_FERNET_KEY",
                "SLUICE_AIRFLOW_JWT_SECRET",
                "SLUICE_AIRFLOW_PARALLELISM",
                "SLUICE_AIRFLOW_SECRET_KEY",
                "SLUICE_AIRFLOW_STATSD_ON",
                "SLUICE_APPROVER_DB_PASSWORD",
                "SLUICE_BROKER_PASSWORD",
                "SLUICE_DB_ADMIN_PASSWORD",
                "SLUICE_DB_PASSWORD",
                "SLUICE_DB_PORT",
                "SLUICE_SCHEDULER_CPUS",
                "SLUICE_SCHEDULER_MEMORY",
                "SLUICE_SERVICE_DB_PASSWORD",
                "SLUICE_TRAINER_DB_PASSWORD",
                "SLUICE_UI_PASSWORD",
                "SLUICE_WORKER_CPUS",
                "SLUICE_WORKER_MEMORY",
                "SLUICE_WORKER_TASKS",
            ),
            "docker-compose.yaml and deploy/compose",
        ),
    }
)
"""Variables with our prefix that are no settings, and who reads them."""

# Kubernetes adds such variables for every Service, so for one whose name is sluice or begins with sluice-, too.
_OF_KUBERNETES: Final = re.compile(r"SLUICE(_\w+)?_(SERVICE_(HOST|PORT(_\w+)?)|PORT(_\d+_\w+)?)")
_DATABASE_URL: Final = "postgresql://user:password@host:port/database"
_DRIVERS: Final = ("postgresql", "postgresql+psycopg")


def unknown_variables(environment: Mapping[str, str], fields: Collection[str]) -> Iterator[tuple[str, str | None]]:
    """Yield every variable with our prefix that nothing reads, and the nearest known name, if one is near.

    Parameters
    ----------
    environment : mapping of str to str
    fields : collection of str
        The names of the settings, without the prefix.
    """
    known = {f"{PREFIX}{name.upper()}" for name in fields}
    in_kubernetes = "KUBERNETES_SERVICE_HOST" in environment
    for name in sorted(environment):
        upper = name.upper()  # upper or lower case is the same for a setting
        if not upper.startswith(PREFIX) or upper in known or upper in OTHER_VARIABLES:
            continue
        if in_kubernetes and _OF_KUBERNETES.fullmatch(upper):
            continue
        yield name, _nearest(upper, known | set(OTHER_VARIABLES))


def _nearest(name: str, known: Collection[str]) -> str | None:
    """Return the known name that begins with `name`, or is like it."""
    longer = sorted((each for each in known if each.startswith(f"{name}_")), key=len)
    near = longer or get_close_matches(name.removeprefix(PREFIX), [each.removeprefix(PREFIX) for each in known], n=1)
    return f"{PREFIX}{near[0].removeprefix(PREFIX)}" if near else None


def fault_of_database_url(url: str) -> str | None:
    """Return what is wrong with a database URL, without a part that may be a password; None: nothing."""
    from sqlalchemy import make_url  # only where a URL is set
    from sqlalchemy.exc import ArgumentError

    try:
        address = make_url(url)
    except (ArgumentError, ValueError):  # a port that is no number is a ValueError
        return f"expected {_DATABASE_URL}; found something else (not shown, it may contain a password)"
    if address.drivername not in _DRIVERS:
        near = get_close_matches(address.drivername, _DRIVERS, n=1)
        advice = f"write {near[0]}://" if near else "Sluice supports only PostgreSQL"
        return f"expected {_DATABASE_URL}; found {address.drivername}://; {advice}"
    if address.port is not None and not 1 <= address.port <= 65535:
        return f"expected a port from 1 to 65535; found {address.port}"
    if address.host is not None and re.search(r"[\s@/,;]", address.host.replace(",", "")):
        return "expected a host name or address; found one that is none (write @ in a password as %40, / as %2F)"
    return _fault_of_options(address.query) if address.query else None


def _fault_of_options(query: Mapping[str, object]) -> str | None:
    import psycopg.pq  # only where a URL has options

    known = sorted(each.keyword.decode() for each in psycopg.pq.Conninfo.get_defaults())
    for name in query:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            return f"expected options of libpq; found '{name}'" + (f" (is '{near[0]}' meant?)" if near else "")
    return None
