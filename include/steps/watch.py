"""What `sluice status` and `sluice watch` have in common: where Airflow's tables are, and one look at everything."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Engine, make_url

from include.models import DeclaredModels
from include.records import Problem
from include.resources import Resources
from include.settings import Settings
from include.warehouse import embedded_url, open_engine
from include.watching import find_problems, observe, stack_runs

AIRFLOW_DATABASE = "airflow"


def airflow_database_url(settings: Settings, database_url: str) -> str:
    """Return the URL of Airflow's own tables: that of the settings, or a database of the same server.

    `make run` keeps them in the embedded server, also when Sluice's own are elsewhere.
    """
    if settings.airflow_database_url is not None:
        return settings.airflow_database_url
    running = embedded_url(settings.home) if stack_runs(settings.home) else None
    url = make_url(running or database_url).set(database=AIRFLOW_DATABASE)
    return url.render_as_string(hide_password=False)


def open_airflow_engine(settings: Settings, database_url: str) -> Engine:
    """Return an engine on Airflow's own tables, which opens no connection yet and keeps none longer than one look."""
    return open_engine(
        airflow_database_url(settings, database_url), pool_size=1, max_overflow=0, connect_args={"connect_timeout": 3}
    )


def find_problems_now(models: DeclaredModels, resources: Resources, now: datetime) -> tuple[Problem, ...]:
    """Look once at all models and processes, and return what is wrong, worst first."""
    airflow = open_airflow_engine(resources.settings, resources.database_url)
    try:
        state = observe(models, resources.settings, resources.engine, airflow, now)
    finally:
        airflow.dispose()
    return find_problems(state, now)
