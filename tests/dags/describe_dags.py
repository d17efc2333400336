"""Run in a process of its own: parses dags/ as Airflow does and prints, as JSON, what came of it.

Airflow reads its configuration when it is imported and takes over the process's logging, so no test
process imports it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import airflow.sdk

BEFORE = frozenset(sys.modules)


def described(dag: Any) -> dict[str, Any]:
    return {
        "tags": sorted(dag.tags),
        "doc": dag.doc_md or "",
        "catchup": dag.catchup,
        "max_active_runs": dag.max_active_runs,
        "dagrun_timeout": dag.dagrun_timeout.total_seconds() if dag.dagrun_timeout else None,
        "failure_callback": callback(dag.on_failure_callback),
        "paused": dag.is_paused_upon_creation,
        "schedule": getattr(dag.timetable, "expression", None),
        "timetable": type(dag.timetable).__name__,
        "timezone": str(getattr(dag.timetable, "timezone", None)),
        "params": {name: dag.params.get_param(name).schema for name in dag.params},
        "tasks": {each.task_id: described_task(each) for each in dag.tasks},
    }


def described_task(task: Any) -> dict[str, Any]:
    return {
        "owner": task.owner,
        "pool": task.pool,
        "downstream": sorted(task.downstream_task_ids),
        "retries": task.retries,
        "backoff": task.retry_exponential_backoff,
        "policy": type(task.retry_policy).__name__,
        "timeout": task.execution_timeout.total_seconds() if task.execution_timeout else None,
        "failure_callback": callback(task.on_failure_callback),
        "outlets": [getattr(outlet, "uri", outlet.name) for outlet in task.outlets],
    }


def callback(callbacks: Any) -> list[dict[str, Any]]:
    many = callbacks if isinstance(callbacks, (list, tuple)) else [callbacks]
    return [
        {"type": type(each).__name__, "model": each.model, "channels": each.channels, "of_run": each.of_run}
        for each in many
        if each is not None
    ]


def main() -> None:
    from airflow.dag_processing.dagbag import DagBag
    from airflow.serialization.serialized_objects import DagSerialization

    bag = DagBag(dag_folder=sys.argv[1], load_op_links=False)
    imported = sorted(set(sys.modules) - BEFORE)
    for dag in bag.dags.values():
        DagSerialization.serialize_dag(dag)
    report = {
        "airflow": airflow.sdk.__version__,
        "dags": {dag_id: described(dag) for dag_id, dag in sorted(bag.dags.items())},
        "errors": {Path(file).name: text for file, text in bag.import_errors.items()},
        "imported": imported,
    }
    sys.stdout.write("\nREPORT " + json.dumps(report) + "\n")


main()
