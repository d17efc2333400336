"""The compose file's distributed half, and that it and `make distributed` tell Airflow the same."""

from __future__ import annotations

import importlib.metadata
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.local_stack.broker import Broker
from include.settings import REPOSITORY

LAID_OVER: dict[str, Any] = yaml.safe_load((REPOSITORY / "deploy/compose/distributed.yaml").read_text(encoding="utf-8"))
CELERY: dict[str, str] = LAID_OVER["x-celery-environment"]
SERVICES: dict[str, Any] = LAID_OVER["services"]
LOCAL = {f"AIRFLOW__{name}": value for name, value in Broker(Path("broker"), 6379, "secret").airflow_options.items()}


def test_both_notice_a_dead_worker_in_the_same_time() -> None:
    of_this_machine = {"AIRFLOW__CORE__HOSTNAME_CALLABLE", "AIRFLOW__CELERY__SYNC_PARALLELISM"}
    assert set(LOCAL) - set(CELERY) == of_this_machine
    assert set(CELERY) <= set(LOCAL)
    addresses = {"AIRFLOW__CELERY__BROKER_URL", "AIRFLOW__CELERY__RESULT_BACKEND"}
    assert {name: CELERY[name] for name in set(CELERY) - addresses} == {
        name: LOCAL[name] for name in set(CELERY) - addresses
    }


def test_a_dead_worker_s_tasks_come_back_within_a_minute_and_a_living_one_s_are_given_to_nobody_else() -> None:
    silent = float(LOCAL["AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT"])
    looked_for = float(LOCAL["AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL"])
    assert silent + looked_for < 60
    assert silent >= 4 * float(LOCAL["AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_SEC"])
    two_hours = 2 * 3600  # the longest that a task may take, see dags/retrain.py
    assert int(LOCAL["AIRFLOW__CELERY_BROKER_TRANSPORT_OPTIONS__VISIBILITY_TIMEOUT"]) > two_hours


def test_every_option_of_celery_is_one_that_the_provider_has() -> None:
    ships = importlib.metadata.distribution("apache-airflow-providers-celery")
    file = next(Path(str(ships.locate_file(each))) for each in ships.files or () if each.name == "get_provider_info.py")
    known = set(re.findall(r'^ +"(\w+)": \{$', file.read_text(encoding="utf-8"), re.MULTILINE))
    asked = {name.rsplit("__", 1)[1].lower() for name in LOCAL if name.startswith("AIRFLOW__CELERY")}
    assert asked - known == set()


@pytest.mark.parametrize("name", ["scheduler", "api-server", "dag-processor", "triggerer", "worker"])
def test_all_of_airflow_is_told_of_the_broker(name: str) -> None:
    assert SERVICES[name]["environment"] == CELERY


def test_the_broker_is_reached_by_nobody_outside_writes_nothing_and_wants_a_password() -> None:
    broker = SERVICES["broker"]
    assert "ports" not in broker
    assert (broker["read_only"], broker["cap_drop"]) == (True, ["ALL"])
    assert broker["security_opt"] == ["no-new-privileges:true"]
    assert {"cpus", "memory", "pids"} <= set(broker["deploy"]["resources"]["limits"])
    assert "requirepass" in broker["command"][-1]


def test_there_are_two_workers_unless_somebody_wants_more_and_each_is_as_hardened_as_the_scheduler() -> None:
    worker = SERVICES["worker"]
    assert worker["deploy"]["replicas"] == 2
    assert worker["extends"] == {"file": "../../docker-compose.yaml", "service": "scheduler"}
    assert {"cpus", "memory", "pids"} <= set(worker["deploy"]["resources"]["limits"])
    assert worker["healthcheck"]["test"][0] == "CMD"
