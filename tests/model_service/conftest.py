"""A real ledger, real artifacts of small real models, and the service over them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flask.testing import FlaskClient
from skl2onnx import to_onnx
from sklearn.datasets import load_diabetes, load_iris
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LinearRegression
from sqlalchemy import Engine

from include.inference import GoldenRow, ModelSignature, RowEncoder, Scorer
from include.ports import any_free_port
from include.records import Decision, Evaluation, ModelVersion, Period, Promotion
from include.registry import ArtifactStore, Ledger, Manifest, file_digest, open_artifact_store
from include.settings import Settings
from include.spec import Boolean, Categorical, EntityKey, Numeric
from include.warehouse import open_engine
from model_service import ModelRegistry, create_app
from model_service.models.champion_watcher import ChampionWatcher

IRIS = ("sepal_length", "sepal_width", "petal_length", "petal_width")
SETOSA = dict(zip(IRIS, (5.1, 3.5, 1.4, 0.2), strict=True))
TRIP = {"distance": 10.5, "carrier": "BB", "weekend": True}

SPEC = """
from datetime import timedelta
from include.spec import *

spec = ModelSpec(
    name="{name}", task="{task}", description="A test's model.", owner="tests", source="source.{name}",
    entity_key=EntityKey(column="id", type="{key}"), event_time="at",
    features=(Numeric(name="x", unit="cm", minimum=0, maximum=1),),
    target=Target(column="y", classes={classes}),
    estimator=lambda columns: None,
    window=TrainingWindow(train=timedelta(days=1), holdout=timedelta(days=1)),
    contract=Contract(training_rows=(1, 2), partition_rows=(1, 2)),
    gates=(MinimumLabels(rows=1),),
)
"""
QUERY = "SELECT * FROM t WHERE at >= :period_start AND at < :period_end"


def signature_of(name: str) -> ModelSignature:
    fields: dict[str, Any] = {"model": name, "event_time": "at", "entity_key": EntityKey(column="id", type="bigint")}
    if name == "iris":
        fields |= {"task": "multiclass", "classes": ("setosa", "versicolor", "virginica")}
        fields["features"] = tuple(Numeric(name=each, unit="cm", minimum=0, maximum=100) for each in IRIS)
    elif name == "trip":
        fields |= {"task": "binary", "classes": ("on_time", "late"), "entity_key": EntityKey(column="id")}
        fields["features"] = (
            Numeric(name="distance", unit="km", minimum=0, maximum=1000, nullable=True),
            Categorical(name="carrier", categories=("AA", "BB", "CC"), handle_unknown="error"),
            Boolean(name="weekend"),
        )
    else:
        fields |= {"task": "regression", "single_row_exact": False}
        fields["features"] = tuple(Numeric(name=f"f{i}", unit="1", minimum=-1, maximum=1) for i in range(10))
    return ModelSignature(**fields)


def estimator_of(name: str, seed: int) -> tuple[Any, np.ndarray, list[dict[str, Any]]]:
    """Return a fitted estimator, its matrix, and golden rows as JSON values."""
    if name == "iris":
        matrix, target = load_iris(return_X_y=True)
        rows = [dict(zip(IRIS, row, strict=True)) for row in matrix[::15].tolist()]
        return RandomForestClassifier(5, random_state=seed).fit(matrix, target), matrix, rows
    if name == "trip":
        rng = np.random.default_rng(seed)
        matrix = np.column_stack([rng.uniform(0, 1000, 300), rng.integers(-1, 3, 300), rng.integers(0, 2, 300)])
        target = (matrix[:, 0] + 200 * matrix[:, 1] > 500).astype(int)
        rows = [TRIP, TRIP | {"distance": None}, TRIP | {"carrier": "CC", "weekend": False}]
        return HistGradientBoostingClassifier(max_iter=10).fit(matrix.astype(np.float32), target), matrix, rows
    matrix, target = load_diabetes(return_X_y=True)
    rows = [{f"f{i}": value for i, value in enumerate(row)} for row in matrix[:5].tolist()]
    return LinearRegression().fit(matrix.astype(np.float32), target + seed), matrix, rows


def export(folder: Path, name: str, seed: int) -> Path:
    """Write the files that training writes, with the same tools."""
    folder.mkdir()
    estimator, matrix, rows = estimator_of(name, seed)
    options = {id(estimator): {"zipmap": False}} if name != "sugar" else None
    graph = to_onnx(estimator, matrix[:1].astype(np.float32), options=options).SerializeToString()
    signature = signature_of(name)
    scorer = Scorer(graph, signature)
    answers = scorer.score(RowEncoder(signature).encode(rows)).tolist()
    golden = [GoldenRow(features=row, answer=tuple(a)).to_plain() for row, a in zip(rows, answers, strict=True)]
    (folder / "model.onnx").write_bytes(graph)
    (folder / "signature.json").write_text(signature.to_json())
    (folder / "golden.json").write_text(json.dumps(golden))
    (folder / "model.joblib").write_bytes(b"a pickle that nobody reads")
    return folder


@pytest.fixture(scope="session")
def candidates(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, int], Path]:
    """Exports a candidate of a model from a seed, once per session."""
    root = tmp_path_factory.mktemp("candidates")

    def candidate(name: str, seed: int = 0) -> Path:
        folder = root / f"{name}-{seed}"
        return folder if folder.exists() else export(folder, name, seed)

    return candidate


@dataclass
class Harness:
    """The environment of the service: declarations, ledger, artifacts."""

    settings: Settings
    engine: Engine
    candidates: Callable[[str, int], Path]
    runs: int = field(default=0)

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.engine)

    @property
    def store(self) -> ArtifactStore:
        return open_artifact_store(self.settings)

    def declare(self, *names: str) -> None:
        for name in names:
            signature = signature_of(name)
            text = SPEC.format(name=name, task=signature.task, classes=signature.classes, key=signature.entity_key.type)
            folder = self.settings.models_dir / name
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "features.sql").write_text(QUERY)
            (folder / "spec.py").write_text(text)

    def register(self, name: str, seed: int = 0, holdout: Period | None = None) -> ModelVersion:
        self.runs += 1
        source = self.candidates(name, seed)
        manifest = Manifest(
            model=name,
            files={file.name: file_digest(file) for file in source.iterdir()},
            spec_digest="s",
            data_digest="d",
            code_digest="c",
            libraries={},
            created_at=datetime.now(UTC),
        )
        return self.ledger.register(
            manifest,
            f"run-{self.runs}",
            Evaluation(model=name, rows=1, candidate={}, baseline={}, holdout=holdout),
            Decision(accepted=True, gates=()),
            lambda version: self.store.put(source, manifest, version),
        )

    def promote(self, name: str, version: int) -> Promotion:
        before = self.ledger.champion(name)
        return self.ledger.promote(
            name,
            version,
            actor="tests",
            reason="to see it served",
            evidence_digest="e",
            expected_sequence=before.sequence if before else 0,
        )

    def champion(self, name: str, seed: int = 0, holdout: Period | None = None) -> ModelVersion:
        """Register a version and promote it."""
        version = self.register(name, seed, holdout)
        self.promote(name, version.version)
        return version


def open_harness(database_url: str, folder: Path, candidates: Callable[[str, int], Path]) -> Iterator[Harness]:
    (folder / "models").mkdir()
    engine = open_engine(database_url)
    settings = Settings(
        home=folder / "home",
        models_dir=folder / "models",
        database_url=database_url,
        service_query_timeout_seconds=10,  # a busy machine must not turn an answer into 503
    )
    yield Harness(settings, engine, candidates)
    engine.dispose()


@pytest.fixture
def harness(database_url: str, tmp_path: Path, candidates: Callable[[str, int], Path]) -> Iterator[Harness]:
    """A harness for a test that changes it."""
    yield from open_harness(database_url, tmp_path, candidates)


@dataclass
class InProcess:
    """The application in this process; the test runs its watcher."""

    harness: Harness
    registry: ModelRegistry
    watcher: ChampionWatcher
    client: FlaskClient

    def predict(self, name: str, features: Any) -> Any:
        return self.client.post(f"/v1/models/{name}/predict", json={"features": features})


def service_on(harness: Harness) -> InProcess:
    registry = ModelRegistry()
    settings = harness.settings
    watcher = ChampionWatcher(
        registry, harness.engine, artifacts=open_artifact_store(settings), models_dir=settings.models_dir
    )
    return InProcess(harness, registry, watcher, create_app(settings, registry, harness.engine).test_client())


@pytest.fixture
def service(harness: Harness) -> InProcess:
    """The service over a harness that the test changes."""
    return service_on(harness)


@pytest.fixture(scope="module")
def settled(
    new_database: Callable[[], str], tmp_path_factory: pytest.TempPathFactory, candidates: Callable[[str, int], Path]
) -> Iterator[InProcess]:
    """The service over a harness that no test changes: three champions, and one model that has none."""
    for harness in open_harness(new_database(), tmp_path_factory.mktemp("settled"), candidates):
        harness.declare("iris", "trip", "sugar", "empty_one")
        for name in ("iris", "trip", "sugar"):
            harness.champion(name)
        service = service_on(harness)
        service.watcher.poll_once()
        yield service


@pytest.fixture(scope="module", params=[True, False], ids=["fast_path", "flask"])
def both_ways(settled: InProcess, request: pytest.FixtureRequest) -> InProcess:
    """The settled service, its predictions answered before Flask's dispatcher, and then by Flask's routes.

    A module's tests run over both when its own fixture ``settled`` is this one.
    """
    settings = settled.harness.settings.model_copy(update={"service_fast_path": request.param})
    client = create_app(settings, settled.registry, settled.harness.engine).test_client()
    return replace(settled, harness=replace(settled.harness, settings=settings), client=client)


# -- the service as a real process ----------------------------------------------------------------


@dataclass
class Running:
    """``python -m model_service`` as a separate process."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request(method, path, None if body is None else json.dumps(body))
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()

    def wait_until(self, condition: Callable[[], bool], seconds: float = 90) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                if condition():
                    return
            except OSError:
                pass
            assert self.process.poll() is None, self.log.read_text()
            time.sleep(0.02)
        raise AssertionError(f"not within {seconds} s: {self.log.read_text()}")

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=15)


@pytest.fixture
def run_service(harness: Harness, tmp_path: Path) -> Iterator[Callable[..., Running]]:
    """Starts the service over `harness`, and stops it at the end of the test."""
    started: list[Running] = []

    def run(
        port: int | None = None,
        workers: int = 1,
        *,
        command: Sequence[str] = ("-m", "model_service"),
        own_group: bool = False,
        **more: str | None,
    ) -> Running:
        port = port or any_free_port()
        log = tmp_path / f"service-{len(started)}.log"
        environment = os.environ | {
            "SLUICE_HOME": str(harness.settings.home),
            "SLUICE_MODELS_DIR": str(harness.settings.models_dir),
            "SLUICE_DATABASE_URL": str(harness.settings.database_url),
            "SLUICE_SERVICE_PORT": str(port),
            "SLUICE_SERVICE_WORKERS": str(workers),
        }
        for name, value in more.items():  # None: unset
            environment[name] = value or ""
            if value is None:
                del environment[name]
        with log.open("wb") as file:
            process = subprocess.Popen(
                [sys.executable, *command], env=environment, stderr=file, stdout=file, start_new_session=own_group
            )
        started.append(Running(process, port, log))
        return started[-1]

    yield run
    for running in started:
        if running.process.poll() is None:
            running.process.send_signal(signal.SIGTERM)
            try:
                running.process.wait(timeout=15)
            except subprocess.TimeoutExpired:
                running.process.kill()
                running.process.wait()
