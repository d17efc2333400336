"""Airflow's local settings: Airflow imports this file at start, from ``$AIRFLOW_HOME/config``.

Tasks are forks of the scheduler, or of a Celery worker. The modules that these have imported cost a task nothing; an
import of its own costs each task 8 to 22 seconds on two cores. The DAG processor forks a process for every DAG file
every few seconds. Other Airflow processes fork no tasks and parse no DAG files, nor does a scheduler whose tasks run
elsewhere.
"""

import abc
import os
import sys
from contextlib import suppress
from importlib import import_module

from airflow.configuration import conf

FOR_TASKS = (
    "great_expectations",
    "jinja2",
    "matplotlib.backends.backend_svg",
    "matplotlib.figure",
    "onnxruntime",
    "pandas",
    "pyarrow.parquet",
    "scipy.stats",
    "skl2onnx",
    "sklearn.ensemble",
    "sklearn.linear_model",
    "include.pipeline",
)
FOR_DAG_FILES = (
    "airflow.sdk.definitions.decorators",
    "include.flows",
    "include.models",
    "include.records",
    "include.settings",
    "sluice_airflow.promotion_tasks",
    "sluice_airflow.tasks",
)


def warm_class_caches() -> None:
    """Fill the caches of `isinstance` and `issubclass` checks for the forks of this process.

    pydantic checks every existing class, which takes half a second in each process that reads a declaration, and 10 ms
    in a fork of a process that has read it before. The caches are invalid as soon as a class is registered with an
    abstract class (docs/decisions/0018).
    """
    known: object = None

    def read_before_fork() -> None:
        nonlocal known
        if abc.get_cache_token() != known:
            with suppress(Exception):  # the fork reads it again, and reports the error
                import_module("include.settings").load_settings()
                import_module("include.models").declared_models()
            known = abc.get_cache_token()

    os.register_at_fork(before=read_before_fork)


forks_tasks = sys.argv[1:2] == ["scheduler"] and "LocalExecutor" in conf.get("core", "executor")
takes_tasks = sys.argv[1:3] == ["celery", "worker"]
parses_dag_files = sys.argv[1:2] == ["dag-processor"]

for name in FOR_TASKS if forks_tasks or takes_tasks else ():
    import_module(name)
if forks_tasks or takes_tasks or parses_dag_files:
    for name in FOR_DAG_FILES:  # a task parses its DAG file, too
        import_module(name)
    warm_class_caches()
