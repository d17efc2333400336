"""MLflow, MLServer and BentoML, each in an environment of its own, serving the iris forest as their documentation says.

Each trains a forest as large as ours in its own environment, since no two agree on a version of scikit-learn.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serving_peers.servers import Server, end, free_port, wait_for
from serving_peers.trained import ROWS, Trained

TRAIN = """
import sys, joblib
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier
estimator = RandomForestClassifier(n_estimators=100, random_state=0).fit(*load_iris(return_X_y=True))
joblib.dump(estimator, "iris.joblib")
"""
# Its default format, skops, refuses a forest unless each type in it is named as trusted.
SAVE_FOR_MLFLOW = f"""{TRAIN}
import mlflow.sklearn
how = {{"pyfunc_predict_fn": "predict_proba", "serialization_format": "cloudpickle"}}
mlflow.sklearn.save_model(estimator, "iris", **how)
"""
BENTO = """
import bentoml, joblib

@bentoml.service(workers=2)
class Iris:
    def __init__(self):
        self.estimator = joblib.load("iris.joblib")

    @bentoml.api
    def predict(self, features: list) -> dict:
        rows = features if isinstance(features[0], list) else [features]
        chances = self.estimator.predict_proba(rows)
        return {"labels": self.estimator.predict(rows).tolist(), "probabilities": chances.tolist()}
"""


@dataclass(frozen=True)
class Peer:
    """How a peer is installed, prepared, started and asked."""

    name: str
    packages: tuple[str, ...]
    prepare: str
    path: str

    def body(self, rows: list[list[float]]) -> Any:
        if self.name.startswith("MLflow"):
            return {"inputs": rows}
        if self.name.startswith("BentoML"):
            return {"features": rows}
        data = [value for row in rows for value in row]
        tensor = {"name": "X", "datatype": "FP64", "shape": [len(rows), len(rows[0])], "data": data}
        return {"inputs": [tensor], "outputs": [{"name": "predict"}, {"name": "predict_proba"}]}

    def command(self, programs: Path, folder: Path, port: int) -> list[str]:
        if self.name.startswith("MLflow"):
            options = ["-m", "iris", "-p", str(port), "--env-manager", "local", "--workers", "2"]
            return [str(programs / "mlflow"), "models", "serve", *options]
        if self.name.startswith("BentoML"):
            (folder / "bento_iris.py").write_text(BENTO)
            return [str(programs / "bentoml"), "serve", "bento_iris:Iris", "--port", str(port)]
        ports = {"http_port": port, "grpc_port": free_port(), "metrics_port": free_port()}
        (folder / "settings.json").write_text(json.dumps(ports | {"host": "127.0.0.1", "parallel_workers": 2}))
        model = {"implementation": "mlserver_sklearn.SKLearnModel", "parameters": {"uri": "./iris.joblib"}}
        (folder / "model-settings.json").write_text(json.dumps({"name": "iris", **model}))
        return [str(programs / "mlserver"), "start", "."]


PEERS = (
    Peer("MLflow, 2 workers", ("mlflow", "scikit-learn"), SAVE_FOR_MLFLOW, "/invocations"),
    # 1.7 does not start with a newer uvloop.
    Peer("MLServer, 2 workers", ("mlserver", "mlserver-sklearn", "uvloop<0.22"), TRAIN, "/v2/models/iris/infer"),
    Peer("BentoML, 2 workers", ("bentoml", "scikit-learn"), TRAIN, "/predict"),
)


@contextmanager
def started(found: Trained) -> Iterator[dict[str, Server]]:
    """Yield the peers, answering; a peer that cannot be installed ends the bench, so that none is left out silently."""
    servers: dict[str, Server] = {}
    try:
        for peer in PEERS:
            servers[peer.name] = _started(peer, found)
        for server in servers.values():
            wait_for(server, "iris", server.bodies["iris", 1].read_bytes(), found.home / "peers" / f"{server.port}.log")
        yield servers
    finally:
        for server in servers.values():
            end(server.process)


def _started(peer: Peer, found: Trained) -> Server:
    folder = found.home / "peers" / peer.name.partition(",")[0].lower()
    programs = _installed(peer, folder)
    port = free_port()
    bodies = {}
    for rows in ROWS:
        file = bodies["iris", rows] = folder / f"body-{rows}.json"
        file.write_text(json.dumps(peer.body([list(row.values()) for row in found.rows("iris", rows)])))
    quiet = {"BENTOML_DO_NOT_TRACK": "True", "MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
    path = f"{programs}{os.pathsep}{os.environ['PATH']}"
    with (found.home / "peers" / f"{port}.log").open("wb") as log:
        process = subprocess.Popen(
            peer.command(programs, folder, port),
            cwd=folder,
            env=os.environ | quiet | {"PATH": path},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    return Server(peer.name, process, port, {"Content-Type": "application/json"}, {"iris": peer.path}, bodies)


def _installed(peer: Peer, folder: Path) -> Path:
    """Make the peer's environment and its model unless an earlier run did; return the folder of its programs."""
    programs = folder / "venv" / "bin"
    stamp = folder / "installed.txt"
    if not stamp.exists():
        print(f"installing {', '.join(peer.packages)} ...", flush=True)
        folder.mkdir(parents=True, exist_ok=True)
        uv = Path(sys.executable).parent / "uv"
        if uv.exists():
            subprocess.run([str(uv), "venv", "-q", "--clear", "-p", sys.executable, str(folder / "venv")], check=True)
            pip = [str(uv), "pip", "install", "--python", str(programs / "python")]
        else:
            subprocess.run([sys.executable, "-m", "venv", str(folder / "venv")], check=True)
            pip = [str(programs / "python"), "-m", "pip", "install"]
        subprocess.run([*pip, "-q", *peer.packages], check=True)
        subprocess.run([str(programs / "python"), "-c", peer.prepare], cwd=folder, check=True)
        stamp.write_text("\n".join(peer.packages))
    return programs
