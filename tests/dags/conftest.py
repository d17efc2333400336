"""A private Airflow for these tests: a separate home and database on the session's server, always in a subprocess."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psycopg
import pytest

HERE = Path(__file__).parent
REPOSITORY = HERE.parent.parent

SPEC = '''\
"""A tiny model."""

from datetime import timedelta

from include.spec import ApprovalPolicy, Contract, EntityKey, MetricThreshold, MinimumLabels, ModelSpec, Numeric
from include.spec import ScoreStart, Shadow, Target, TrainingWindow


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
    features=(Numeric(name="size", unit="cm", minimum=0, maximum={high}),),
    target=Target(column="label", classes=("small", "large")),
    estimator=estimator,
    window=TrainingWindow(train=timedelta(days=20), holdout=timedelta(days=10)),
    contract=Contract(training_rows=(10, 100_000), partition_rows=(1, 1_000)),
    gates=({gate},),
    retrain_schedule="0 3 * * *",
    score_schedule="0 0 * * *",
    tags=("tiny",),
    alert_channels=("tests",),
    shadow={shadow},{more}
)
'''
QUERY = """\
SELECT id, seen_at, size, label FROM source.{name}
WHERE seen_at >= :period_start AND seen_at < :period_end
"""
EASY = 'MetricThreshold(metric="roc_auc", minimum=0.6), MinimumLabels(rows=10)'
IMPOSSIBLE = "MinimumLabels(rows=1_000_000)"


def write_model(
    models_dir: Path, name: str, *, gate: str = EASY, high: float = 100, shadow: str = "None", more: str = ""
) -> Path:
    """Write the folder of a model, and return it."""
    folder = models_dir / name
    folder.mkdir(parents=True)
    (folder / "spec.py").write_text(
        SPEC.format(name=name, gate=gate, high=high, shadow=shadow, more=more), encoding="utf-8"
    )
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
    """Run a script of this folder in a separate process and return the JSON that it reports."""
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
    """The result of parsing dags/ in Airflow with two declared models, `apple` and `pear`."""
    models = tmp_path_factory.mktemp("models")
    write_model(models, "apple")
    write_model(models, "pear")
    return parse(models)


TINY_TABLE = """\
CREATE TABLE source.{name} (id bigint PRIMARY KEY, seen_at timestamptz, size double precision, label text);
INSERT INTO source.{name}
SELECT number, timestamptz '2026-01-20 00:00Z' + number * interval '1 hour', size,
       CASE WHEN size + (number * 31 % 41) > 70 THEN 'large' ELSE 'small' END
FROM (SELECT number, (number * 37 % 101)::double precision AS size FROM generate_series(1, 24 * 40) AS number) AS made;
"""


@dataclass(slots=True)
class Harness:
    """The runs of two tiny models, and their effects that are visible from outside."""

    database: str
    home: Path
    runs: dict[str, Any] = field(default_factory=dict)
    messages: list[dict[str, str]] = field(default_factory=list)
    packets: list[str] = field(default_factory=list)


@pytest.fixture(scope="session")
def harness(new_database: Callable[[], str], tmp_path_factory: pytest.TempPathFactory) -> Harness:
    """Real DAGs, the real pipeline, two tiny models of which `pear` can pass no gate: see run_dags.py.

    Forty days of one row an hour, from 20 January to 1 March 2026. The channel ``tests`` is a real
    HTTP server, ``default`` one that is down; StatsD is a real socket.
    """
    home = tmp_path_factory.mktemp("airflow")
    write_model(home / "models", "apple", shadow="Shadow()")
    write_model(home / "models", "pear", gate=IMPOSSIBLE)
    harness = Harness(database=new_database(), home=home)
    metadata = harness.database + "_airflow"
    with psycopg.connect(harness.database, autocommit=True) as connection:
        for name in ("apple", "pear"):
            connection.execute(TINY_TABLE.format(name=name))
        connection.execute(f"CREATE DATABASE {metadata.rsplit('/', 1)[1]}")
    with listening_http(harness.messages) as http_port, listening_udp(harness.packets) as udp_port:
        env = environment(
            home,
            home / "models",
            SLUICE_DATABASE_URL=harness.database,
            SLUICE_AIRFLOW_URL="https://airflow.example",
            SLUICE_ALERT_CHANNELS=json.dumps(
                {"default": "json://127.0.0.1:1", "tests": f"json://127.0.0.1:{http_port}"}
            ),
            SLUICE_STATSD_HOST="127.0.0.1",
            SLUICE_STATSD_PORT=str(udp_port),
            AIRFLOW__DATABASE__SQL_ALCHEMY_CONN=metadata.replace("postgresql://", "postgresql+psycopg2://"),
            AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_ASYNC=metadata.replace("postgresql://", "postgresql+asyncpg://"),
        )
        harness.runs = reported("run_dags.py", env=env, timeout=900)
    return harness


@contextmanager
def listening_http(messages: list[dict[str, str]]) -> Iterator[int]:
    """Receive JSON messages on a loopback port, as a chat service does."""

    class Taker(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            messages.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *args: object) -> None:
            """Keep the test's output clean."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Taker) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


@contextmanager
def listening_udp(packets: list[str]) -> Iterator[int]:
    """Receive datagrams on a loopback port, as a StatsD server does."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.settimeout(0.2)
        over = threading.Event()

        def take() -> None:
            while not over.is_set():
                with suppress(TimeoutError):
                    packets.append(listener.recv(65535).decode())

        taker = threading.Thread(target=take, daemon=True)
        taker.start()
        yield listener.getsockname()[1]
        over.set()
        taker.join()
