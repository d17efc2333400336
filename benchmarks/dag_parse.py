"""How long Airflow takes to import all DAG files with 50 declared models, beside its own import.

    .venv/bin/python benchmarks/dag_parse.py [--models 50] [--repeats 5]

Each repeat is a fresh interpreter, so nothing is warm but byte code and the disk cache. Parsing waits for
nothing, so its processor time is what it takes on a machine with nothing else to do: that is held
against the limit. The time by the clock is shown beside it; on a busy machine it is longer.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
SAMPLE = REPOSITORY / "include" / "models" / "flight_delay"
LIMIT_SECONDS = 1.0

MEASURED = """
import json, sys, time
marks = [(time.process_time(), time.perf_counter())]
import airflow.sdk
from airflow.dag_processing.dagbag import DagBag
marks.append((time.process_time(), time.perf_counter()))
bag = DagBag(dag_folder=sys.argv[1], load_op_links=False)
marks.append((time.process_time(), time.perf_counter()))
print("FIGURES " + json.dumps({
    "airflow": marks[1][0] - marks[0][0], "airflow by the clock": marks[1][1] - marks[0][1],
    "dags": marks[2][0] - marks[1][0], "dags by the clock": marks[2][1] - marks[1][1],
    "count": len(bag.dags), "errors": bag.import_errors,
}))
"""


def declare(models_dir: Path, count: int) -> None:
    """Declare `count` models, each as large as the flight_delay sample."""
    text = (SAMPLE / "spec.py").read_text(encoding="utf-8")
    for number in range(count):
        name = f"model_{number:03d}"
        (models_dir / name).mkdir(parents=True)
        renamed = text.replace('"flight_delay"', f'"{name}"')
        (models_dir / name / "spec.py").write_text(renamed, encoding="utf-8")
        shutil.copyfile(SAMPLE / "features.sql", models_dir / name / "features.sql")


def measure(home: Path, models_dir: Path) -> dict[str, float]:
    """Return the seconds of one fresh interpreter."""
    # An installation has byte code, so this one may write it, whatever the caller's shell says.
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"} | {
        "AIRFLOW_HOME": str(home / "airflow"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR",
        "PYTHONPATH": os.pathsep.join((str(REPOSITORY), str(REPOSITORY / "plugins"))),
        "SLUICE_MODELS_DIR": str(models_dir),
    }
    command = [sys.executable, "-c", MEASURED, str(REPOSITORY / "dags")]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("FIGURES ")]
    figures = json.loads(line.removeprefix("FIGURES "))
    if figures["errors"]:
        raise SystemExit(f"DAG files do not import: {figures['errors']}")
    return figures


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, default=50)
    parser.add_argument("--repeats", type=int, default=5)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        declare(home / "models", asked.models)
        measure(home, home / "models")  # the first one fills the disk cache and writes the byte code
        runs = [measure(home, home / "models") for _ in range(asked.repeats)]
    middle = {name: statistics.median(run[name] for run in runs) for name in runs[0] if name != "errors"}
    kept = middle["dags"] < LIMIT_SECONDS
    sys.stdout.write(
        f"machine: {machine()}\n"
        f"{asked.models} models, {middle['count']:.0f} DAGs; medians of {asked.repeats} fresh interpreters\n"
        f"                     processor   clock\n"
        f"Airflow's own import  {middle['airflow']:6.2f} s {middle['airflow by the clock']:6.2f} s\n"
        f"all DAG files         {middle['dags']:6.2f} s {middle['dags by the clock']:6.2f} s"
        f"   {100 * middle['dags'] / middle['airflow']:.0f} % of Airflow's\n"
        f"limit                 {LIMIT_SECONDS:6.2f} s            {'kept' if kept else 'BROKEN'}\n"
    )
    return 0 if kept else 1


def machine() -> str:
    """Return what the figures were measured on."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    cpu = named[0] if named else platform.machine()
    system = f"{platform.system()}, Python {platform.python_version()}"
    return f"{cpu}, {os.cpu_count()} cores, {system}, load {os.getloadavg()[0]:.1f}"


if __name__ == "__main__":
    sys.exit(main())
