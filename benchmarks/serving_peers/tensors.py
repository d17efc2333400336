"""The Open Inference Protocol's binary form: 1,000 flights a request, beside the bare call of onnxruntime."""

from __future__ import annotations

import json
import struct
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from serving_peers.servers import OURS, WORKERS, Server
from serving_peers.trained import Trained
from serving_peers.wrk import load

ROWS = 1_000
CONNECTIONS = 8
MODEL = "flight_delay"


def write_request(found: Trained) -> tuple[Path, int]:
    """Write the request as tritonclient does, and return its file and the length of its JSON part."""
    rows = found.rows(MODEL, ROWS)
    heads, buffers = [], []
    for name in rows[0]:
        values = [row[name] for row in rows]
        if any(isinstance(value, str) for value in values):
            words = [(value or "").encode() for value in values]
            datatype, data = "BYTES", b"".join(struct.pack("<I", len(word)) + word for word in words)
        else:
            numbers = [np.nan if value is None else value for value in values]
            datatype, data = "FP32", np.array(numbers, dtype="<f4").tobytes()
        parameters = {"binary_data_size": len(data)}
        heads.append({"name": name, "datatype": datatype, "shape": [ROWS], "parameters": parameters})
        buffers.append(data)
    head = json.dumps({"inputs": heads, "parameters": {"binary_data_output": True}}).encode()
    file = found.home / f"{MODEL}-tensors.bin"
    file.write_bytes(head + b"".join(buffers))
    return file, len(head)


def bare_call(found: Trained) -> Any:
    """Return a function that scores the same rows with onnxruntime alone, on one thread as a request of ours."""
    import onnxruntime

    from include.inference import ModelSignature, RowEncoder

    folder = found.artifact(MODEL)
    signature = ModelSignature.from_json((folder / "signature.json").read_bytes())
    matrix = RowEncoder(signature).encode(found.rows(MODEL, ROWS))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(folder / "model.onnx", options)
    given = {session.get_inputs()[0].name: matrix}
    wanted = [session.get_outputs()[-1].name]
    return lambda: session.run(wanted, given)


class Compared(NamedTuple):
    """Rows a second of ours and of the bare call, round by round.

    Attributes
    ----------
    together : list of (ours, bare)
        `CONNECTIONS` requests under way on our workers, against as many processes, a thread each, that do
        nothing but call: rate against rate on the same number of threads and cores, wrk's own work included.
    alone : list of (ours, bare)
        One request at a time against one call at a time: latency against latency, HTTP's included.
    """

    together: list[tuple[float, float]]
    alone: list[tuple[float, float]]


def compare(found: Trained, servers: dict[str, Server], seconds: float, rounds: int) -> Compared:
    """Ask ours and the bare call in alternation."""
    file, head = write_request(found)
    ours = servers[OURS]
    url = f"http://127.0.0.1:{ours.port}/v2/models/{MODEL}/infer"
    headers = ours.headers | {
        "Content-Type": "application/octet-stream",
        "Inference-Header-Content-Length": str(head),
    }

    def asked(connections: int) -> float:
        answered = load(url, file, headers, connections, seconds, found.home)
        if answered.failed:
            raise SystemExit(f"bench: FAILED: {answered.failed} inference requests were refused")
        return answered.rate * ROWS

    compared = Compared([], [])
    with _callers(found, WORKERS) as many, _callers(found, 1) as one:
        for _ in range(rounds):
            compared.together.append((asked(CONNECTIONS), sum(many.map(_rows_a_second, [seconds] * WORKERS))))
            compared.alone.append((asked(1), sum(one.map(_rows_a_second, [seconds]))))
    return compared


_call: Callable[[], Any] | None = None


def _callers(found: Trained, processes: int) -> ProcessPoolExecutor:
    """Return processes that have the model loaded."""
    pool = ProcessPoolExecutor(processes, get_context("spawn"), _load, (found,))
    list(pool.map(_rows_a_second, [0.5] * processes))  # all of them are started, and warm
    return pool


def _load(found: Trained) -> None:
    global _call  # what a process of the pool holds
    _call = bare_call(found)


def _rows_a_second(seconds: float) -> float:
    assert _call is not None
    calls, began = 0, time.perf_counter()
    while (spent := time.perf_counter() - began) < seconds:
        _call()
        calls += 1
    return calls * ROWS / spent
