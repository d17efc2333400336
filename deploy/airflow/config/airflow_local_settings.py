"""Read by Airflow at start, from ``$AIRFLOW_HOME/config``.

Tasks are forks of the scheduler, or of a Celery worker. What these have imported tasks have too, for nothing, where a
fresh import costs each task 8 to 22 seconds on two cores. The DAG processor forks a process for every DAG file every
few seconds, all day long. Other Airflow processes run neither, nor does a scheduler whose tasks run elsewhere.
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


def keep_classes_known() -> None:
    """Have the forks of this process know which class is what.

    pydantic asks that of every class there is, which takes half a second in each process that reads a declaration, and
    10 ms in a fork of one that has read it before. What is known is void as soon as an abstract class takes in another
    (docs/decisions/0018).
    """
    known: object = None

    def read_before_fork() -> None:
        nonlocal known
        if abc.get_cache_token() != known:
            with suppress(Exception):  # the fork will read it anew, and say what is wrong
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
    keep_classes_known()
