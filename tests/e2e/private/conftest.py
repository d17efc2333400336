"""A private Airflow, as in `make run`, for tests that need additional users or kill its parts."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator

import pytest

from deploy.local_stack.airflow_home import write_private
from deploy.local_stack.database import stop_database
from deploy.local_stack.ports import free_port
from deploy.local_stack.stack import Stack
from include.settings import Settings

PASSWORDS = {"ann": "ann's password", "bob": "bob's password"}
# Shorter times after which Airflow notices a dead scheduler: by default 30 s, in the stack a check every 15 s.
MISSED_SOONER = {
    "SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "2",
    "SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "10",
    "SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "3",
}


@pytest.fixture(scope="package")
def private(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack without a model, started once for this folder; tests declare models in its models folder."""
    home = tmp_path_factory.mktemp("private")
    models = home / "models"
    models.mkdir()
    port = free_port(18080)
    settings = Settings(home=home, models_dir=models, airflow_port=port, airflow_url=f"http://127.0.0.1:{port}")
    stack = Stack(settings, threading.Event())
    environment = pytest.MonkeyPatch()
    environment.setenv("SLUICE_MODELS_DIR", str(models))  # the stack passes its environment on
    people = ",".join(f"{name}:admin" for name in PASSWORDS)
    stack.airflow_options = {**MISSED_SOONER, "CORE__SIMPLE_AUTH_MANAGER_USERS": f"admin:admin,{people}"}
    try:
        write_private(stack.airflow.password_file, json.dumps({"admin": stack.airflow.secrets.password, **PASSWORDS}))
        for step in (stack.start_database, stack.migrate_schema, stack.migrate_airflow, stack.start_airflow):
            step(lambda _: None)
        yield stack
    finally:
        environment.undo()
        survivors = stack.close(threading.Event())
        stop_database(home)
    assert survivors == []
