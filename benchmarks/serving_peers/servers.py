"""The servers that are compared, each started as its documentation says."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path

import psutil

from serving_peers import REPOSITORY
from serving_peers.trained import MODELS, Trained

HERE = Path(__file__).resolve().parent
SECRET = "benchmark-benchmark-benchmark-benchmark"  # noqa: S105  # guards nothing
WORKERS = 2
OURS, OURS_FLASK, NAIVE = "Sluice", "Sluice, fast path off", "naive: Flask + joblib, gunicorn 4 sync"
FASTAPI, EMPTY_FLASK, EMPTY_WSGI = "FastAPI + onnxruntime, uvicorn 2", "empty Flask route", "empty WSGI application"
EMPTY = (EMPTY_FLASK, EMPTY_WSGI)


@dataclass
class Server:
    """One server, running."""

    name: str
    process: subprocess.Popen[bytes]
    port: int
    headers: dict[str, str] = field(default_factory=dict)
    paths: dict[str, str] = field(default_factory=lambda: {model: f"/v1/models/{model}/predict" for model in MODELS})
    bodies: dict[tuple[str, int], Path] = field(default_factory=dict)
    """Where a server takes another form of body than the others: by model and rows."""

    def memory(self) -> float:
        """Return MiB a worker, as PSS: a page that n processes share counts 1/n for each."""
        workers = psutil.Process(self.process.pid).children(recursive=True)
        held = [each.memory_full_info().pss for each in workers if "resource_tracker" not in " ".join(each.cmdline())]
        return sum(held) / len(held) / 2**20 if held else 0.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def token() -> str:
    import jwt

    claims = {"iss": "sluice", "aud": "sluice", "sub": "bench", "exp": time.time() + 86_400, "scope": "predict models"}
    return jwt.encode(claims, SECRET, algorithm="HS256")


def commands(found: Trained, packages: Path) -> dict[str, tuple[list[str], int, dict[str, str]]]:
    """Return how each server is started: command, port, environment."""
    from include.settings import Settings

    threads = Settings().service_max_concurrency + 1
    made: dict[str, tuple[list[str], int, dict[str, str]]] = {}
    for name, fast_path in ((OURS, "1"), (OURS_FLASK, "0")):
        made[name] = (
            [sys.executable, "-m", "model_service"],
            port := free_port(),
            {
                "SLUICE_HOME": str(found.home),
                "SLUICE_DATABASE_URL": found.database_url,
                "SLUICE_SERVICE_PORT": str(port),
                "SLUICE_SERVICE_WORKERS": str(WORKERS),
                "SLUICE_SERVICE_FAST_PATH": fast_path,
                "SLUICE_AUTH_SECRET": SECRET,
            },
        )
    # To the naive one's favour: with two threads a worker, as is the default, OpenMP's threads wait for each
    # other by spinning, and four workers on two cores answer flights a hundred times more slowly still.
    one_thread = {"OMP_NUM_THREADS": "1"}
    gunicorn = [sys.executable, "-m", "gunicorn", "--workers", "4", "--no-control-socket", "--log-level", "warning"]
    made[NAIVE] = ([*gunicorn, "--bind", f"127.0.0.1:{(port := free_port())}", "naive:app"], port, one_thread)
    uvicorn = [sys.executable, "-m", "uvicorn", "fastapi_onnx:app", "--workers", str(WORKERS), "--no-access-log"]
    made[FASTAPI] = ([*uvicorn, "--port", str(port := free_port()), "--log-level", "warning"], port, {})
    for name, kind in ((EMPTY_FLASK, "flask"), (EMPTY_WSGI, "wsgi")):
        command = [sys.executable, str(HERE / "empty.py"), kind, str(port := free_port()), str(WORKERS), str(threads)]
        made[name] = (command, port, {})
    paths = os.pathsep.join((str(REPOSITORY), str(packages), str(HERE)))
    return {
        name: (command, port, {"PYTHONPATH": paths, "BENCH_HOME": str(found.home)} | more)
        for name, (command, port, more) in made.items()
    }


@contextmanager
def started(found: Trained, packages: Path, names: Collection[str] | None = None) -> Iterator[dict[str, Server]]:
    """Yield all servers, or those of `names`, answering; end them and what they started in the end."""
    servers: dict[str, Server] = {}
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("SLUICE_")}
    logs = found.home / "server-logs"
    shutil.rmtree(logs, ignore_errors=True)
    logs.mkdir()
    try:
        for name, (command, port, more) in commands(found, packages).items():
            if names is not None and name not in names:
                continue
            with (logs / f"{port}.log").open("wb") as log:
                process = subprocess.Popen(
                    command, env=inherited | more, cwd=found.home, stdout=log, stderr=log, start_new_session=True
                )
            headers = {"Authorization": f"Bearer {token()}"} if name in (OURS, OURS_FLASK) else {}
            servers[name] = Server(name, process, port, {"Content-Type": "application/json", **headers})
        for server in servers.values():
            for model in MODELS:
                wait_for(server, model, found.body(model, 1).read_bytes(), logs / f"{server.port}.log")
        yield servers
    finally:
        for server in servers.values():
            end(server.process)


def ask(server: Server, model: str, body: bytes) -> tuple[int, bytes]:
    connection = HTTPConnection("127.0.0.1", server.port, timeout=30)
    try:
        connection.request("POST", server.paths[model], body, server.headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def wait_for(server: Server, model: str, body: bytes, log: Path, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if ask(server, model, body)[0] == 200:
                return
        except OSError:
            pass
        if server.process.poll() is not None:
            break
        time.sleep(0.1)
    raise SystemExit(f"{server.name} does not answer for {model}: {log.read_text()[-2000:]}")


def end(process: subprocess.Popen[bytes]) -> None:
    """End a server and its workers: they are a process group of their own, which we made."""
    for each in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, each)
            process.wait(10)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue
