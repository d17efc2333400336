"""Run in a process of its own: prints, as JSON, what a fork of Airflow's DAG processor must still learn of classes.

``asked``: how many subclasses Python looks through for the DAG file that reads all declarations; ``imported``: what the
fork imports of Airflow's and ours for that and for ``retrain.py``.
"""

from __future__ import annotations

import cProfile
import json
import os
import pstats
import shutil
import sys
from pathlib import Path

dags, config = Path(sys.argv[1]), Path(os.environ["AIRFLOW_HOME"]) / "config"
config.mkdir(parents=True, exist_ok=True)
shutil.copy(dags.parent / "deploy" / "airflow" / "config" / "airflow_local_settings.py", config)
sys.argv = ["airflow", *sys.argv[2:]]  # what Airflow's process is called, and `airflow_local_settings` goes by

import airflow.dag_processing.manager  # noqa: E402, F401  # as the DAG processor has before it forks
from airflow.dag_processing.dagbag import BundleDagBag  # noqa: E402


def read(name: str) -> int:
    """Read a DAG file, and return how often an abstract class asked its subclasses."""
    profile = cProfile.Profile()
    with profile:
        bag = BundleDagBag(dag_folder=str(dags / name), bundle_path=dags, bundle_name="dags", load_op_links=False)
    assert not bag.import_errors, bag.import_errors
    stats = pstats.Stats(profile).stats
    return sum(calls - own for (_, _, what), (own, calls, *_) in stats.items() if "_abc_subclasscheck" in what)


child_says, to_parent = os.pipe()
if (child := os.fork()) == 0:
    there = set(sys.modules)
    asked = read("declarations.py")
    read("retrain.py")
    imported = sorted(name for name in set(sys.modules) - there if name.split(".")[0] in ("airflow", "include"))
    os.write(to_parent, json.dumps({"asked": asked, "imported": imported}).encode())
    os._exit(0)
os.waitpid(child, 0)
sys.stdout.write("\nREPORT " + os.read(child_says, 65_536).decode() + "\n")
