"""Read by Airflow at start, from ``$AIRFLOW_HOME/config``.

Tasks are forks of the scheduler, or of a Celery worker. What these have imported tasks have too, for nothing, where a
fresh import costs each task 8 to 22 seconds on two cores. The DAG processor forks a process for every DAG file every
few seconds, all day long. Other Airflow processes run neither, nor does a scheduler whose tasks run elsewhere.
"""

import sys
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
FOR_DAG_FILES = ("include.models", "include.records", "include.settings")

forks_tasks = sys.argv[1:2] == ["scheduler"] and "LocalExecutor" in conf.get("core", "executor")
if forks_tasks or sys.argv[1:3] == ["celery", "worker"]:
    for name in FOR_TASKS:
        import_module(name)
elif sys.argv[1:2] == ["dag-processor"]:
    for name in FOR_DAG_FILES:
        import_module(name)
    # pydantic learns what is what by looking, which costs ten times as much at the first declarations as at the next.
    # Forks read their own anew.
    import_module("include.models").declared_models()
