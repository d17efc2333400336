"""Adds Sluice's pages to Airflow's API server. Airflow imports this file in each of its processes."""

from __future__ import annotations

from functools import cache
from typing import Any

from airflow.plugins_manager import AirflowPlugin


class _LazyApps:
    """Makes the application when the API server needs it, so that a task does not import it."""

    def __get__(self, instance: object, owner: type) -> list[dict[str, Any]]:
        return _apps()


@cache
def _apps() -> list[dict[str, Any]]:
    from sluice_airflow.cards import make_app

    return [{"app": make_app(), "url_prefix": "/sluice", "name": "Sluice"}]


class SluicePlugin(AirflowPlugin):
    """The model cards and the Data Docs, behind Airflow's login."""

    name = "sluice"
    fastapi_apps = _LazyApps()  # type: ignore[assignment]
