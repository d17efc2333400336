"""A private Airflow for these tests: own home, own database on the session's server, always in a subprocess."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
REPOSITORY = HERE.parent.parent

SPEC = '''\
"""A tiny model."""

from datetime import timedelta

from include.spec import BetterThanBaseline, Categorical, Contract, EntityKey, MinimumLabels, ModelSpec, Numeric
from include.spec import Target, TrainingWindow


def estimator(columns):
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression()


SPEC = ModelSpec(
    name="{name}",
    task="binary",
    description="Tells small from large.",
    owner="tests",
    source="source.{name}",
    entity_key=EntityKey(column="id", type="bigint"),
    event_time="seen_at",
    features=(Numeric(name="size", unit="cm", low=0, high={high}),),
    target=Target(column="label", classes=("small", "large")),
    estimator=estimator,
    window=TrainingWindow(train=timedelta(days=20), holdout=timedelta(days=10)),
    contract=Contract(training_rows=(10, 100_000), partition_rows=(1, 1_000)),
    gates=({gate},),
    retrain="0 3 * * *",
    score="0 0 * * *",
    tags=("tiny",),
    alert_channels=("tests",),
)
'''
QUERY = """\
SELECT id, seen_at, size, label FROM source.{name}
WHERE seen_at >= :period_start AND seen_at < :period_end
"""
EASY = 'BetterThanBaseline(metric="roc_auc"), MinimumLabels(rows=10)'
IMPOSSIBLE = "MinimumLabels(rows=1_000_000)"


def write_model(models_dir: Path, name: str, *, gate: str = EASY, high: float = 100) -> Path:
    """Write the folder of a model, and return it."""
    folder = models_dir / name
    folder.mkdir(parents=True)
    (folder / "spec.py").write_text(SPEC.format(name=name, gate=gate, high=high), encoding="utf-8")
    (folder / "features.sql").write_text(QUERY.format(name=name), encoding="utf-8")
    return folder


def environment(home: Path, models_dir: Path, **more: str) -> dict[str, str]:
    """Return the environment of an Airflow process: this repository's DAGs, the models of `models_dir`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "SLUICE_"))}
    return kept | {
        "AIRFLOW_HOME": str(home / "airflow"),
        "AIRFLOW__CORE__DAGS_FOLDER": str(REPOSITORY / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(REPOSITORY / "plugins"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING",
        "GX_ANALYTICS_ENABLED": "false",
        "PYTHONPATH": os.pathsep.join((str(REPOSITORY), str(REPOSITORY / "plugins"))),
        "SLUICE_HOME": str(home / "sluice"),
        "SLUICE_MODELS_DIR": str(models_dir),
        **more,
    }


def reported(script: str, *arguments: str, env: dict[str, str], timeout: float = 120) -> dict[str, Any]:
    """Run a script of this folder in a process of its own and return the JSON that it reports."""
    command = [sys.executable, str(HERE / script), *arguments]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=timeout, check=False)
    for line in done.stdout.splitlines():
        if line.startswith("REPORT "):
            report: dict[str, Any] = json.loads(line.removeprefix("REPORT "))
            return report
    raise AssertionError(f"{script} reported nothing:\n{done.stdout[-3000:]}\n{done.stderr[-6000:]}")


@pytest.fixture(scope="session")
def declare() -> Callable[..., Path]:
    """Declares a tiny model in a folder of models."""
    return write_model


@pytest.fixture(scope="session")
def parse(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], dict[str, Any]]:
    """Parses dags/ with the models of a folder, as Airflow's DAG processor does."""
    home = tmp_path_factory.mktemp("parse")
    return lambda models: reported("describe_dags.py", str(REPOSITORY / "dags"), env=environment(home, models))


@pytest.fixture(scope="session")
def parsed(parse: Callable[[Path], dict[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What Airflow makes of dags/ with two models declared, `apple` and `pear`."""
    models = tmp_path_factory.mktemp("models")
    write_model(models, "apple")
    write_model(models, "pear")
    return parse(models)
