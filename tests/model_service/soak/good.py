"""Requests as good clients send them, each at a steady pace on a connection of its own.

    python -m tests.model_service.soak.good PORT TOKEN SECONDS

One line of JSON at the end: how many were answered, their latency in milliseconds, and what failed. A response that is
not the expected one has failed, whatever its status.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from http.client import HTTPConnection, HTTPException
from typing import Any, Final

import numpy as np

CONNECTIONS: Final = 16
A_SECOND: Final = 10  # requests of one connection
V1: Final = ("/v1/models/trip/predict", {"features": {"distance": 10.5, "carrier": "BB", "weekend": True}})
V2: Final = (
    "/v2/models/trip/infer",
    {
        "inputs": [
            {"name": "distance", "shape": [1], "datatype": "FP64", "data": [10.5]},
            {"name": "carrier", "shape": [1], "datatype": "BYTES", "data": ["BB"]},
            {"name": "weekend", "shape": [1], "datatype": "BOOL", "data": [True]},
        ]
    },
)


def send(connection: HTTPConnection, token: str, path: str, body: Any) -> tuple[int, Any]:
    """Send one request; return status and what it predicts."""
    connection.request("POST", path, json.dumps(body), {"Authorization": f"Bearer {token}"})
    response = connection.getresponse()
    answer = json.loads(response.read())
    return response.status, answer.get("prediction") or answer.get("outputs") or answer


class Client(threading.Thread):
    """One connection, until the deadline."""

    def __init__(self, number: int, port: int, token: str, until: float, expected: dict[str, Any]) -> None:
        super().__init__(daemon=True)
        self._number, self._port, self._token, self._until, self._expected = number, port, token, until, expected
        self.latencies: list[float] = []
        self.failures: list[str] = []

    def run(self) -> None:
        path, body = (V1, V2)[self._number % 2]
        connection = HTTPConnection("127.0.0.1", self._port, timeout=60)
        due = time.monotonic() + self._number / CONNECTIONS / A_SECOND
        while due < self._until:
            time.sleep(max(0.0, due - time.monotonic()))
            began = time.perf_counter()
            try:
                status, answer = send(connection, self._token, path, body)
            except (OSError, HTTPException, ValueError) as error:
                self.failures.append(f"{path}: {type(error).__name__}: {error}")
                connection.close()
            else:
                self.latencies.append(time.perf_counter() - began)
                if (status, answer) != (200, self._expected[path]):
                    self.failures.append(f"{path}: {status}: {json.dumps(answer)[:300]}")
            due = max(due + 1 / A_SECOND, time.monotonic() - 1)
        connection.close()


def main(port: int, token: str, seconds: float) -> None:
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    expected = {}
    for path, body in (V1, V2):
        status, expected[path] = send(connection, token, path, body)
        assert status == 200, expected
    connection.close()
    until = time.monotonic() + seconds
    clients = [Client(number, port, token, until, expected) for number in range(CONNECTIONS)]
    for each in clients:
        each.start()
    for each in clients:
        each.join()
    milliseconds = 1e3 * np.concatenate([each.latencies for each in clients])
    failures = [failure for each in clients for failure in each.failures]
    p50, p99 = np.percentile(milliseconds, [50, 99]).round(2).tolist()
    print(json.dumps({"answered": milliseconds.size, "p50": p50, "p99": p99, "failures": failures[:20]}))


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], float(sys.argv[3]))
