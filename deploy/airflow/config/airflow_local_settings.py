"""Read by Airflow at start, from ``$AIRFLOW_HOME/config``.

Tasks are forks of the scheduler, or of a Celery worker. What these have imported tasks have too, for nothing, where a
fresh import costs each task 8 to 22 seconds on two cores. Other Airflow processes run no tasks.
"""

import sys
from importlib import import_module

PRELOADED = (
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

if sys.argv[1:2] == ["scheduler"] or sys.argv[1:3] == ["celery", "worker"]:
    for name in PRELOADED:
        import_module(name)
