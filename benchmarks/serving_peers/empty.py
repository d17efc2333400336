"""What the server itself takes: an empty route of Flask, and an empty application, on granian as ours runs on it.

python empty.py flask|wsgi PORT WORKERS THREADS
"""

from __future__ import annotations

import sys
from typing import Any

from flask import Flask
from granian import Granian
from granian.constants import Interfaces

from model_service.server.cpu_affinity import CpuPinner

BODY = b'{"prediction":null}'


def empty_flask() -> Any:
    app = Flask("empty")

    @app.post("/v1/models/<name>/predict")
    def predict(name: str) -> Any:  # noqa: ARG001  # empty is empty
        return BODY

    return app


def empty_wsgi() -> Any:
    def application(_environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(BODY)))])
        return [BODY]

    return application


if __name__ == "__main__":
    kind, port, workers, threads = sys.argv[1:]
    server = Granian(
        "empty",
        port=int(port),
        interface=Interfaces.WSGI,
        workers=int(workers),
        blocking_threads=int(threads),
    )
    cores = CpuPinner(int(workers))

    def in_worker() -> Any:
        cores.pin()
        return empty_flask() if kind == "flask" else empty_wsgi()

    server.serve(target_loader=in_worker, wrap_loader=False)
