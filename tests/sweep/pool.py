"""Runs configurations in processes with a time limit, and keeps every outcome as a line of JSON."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import psutil

from include.settings import REPOSITORY

SPAWN = multiprocessing.get_context("spawn")
CODE = ("include/training", "include/inference", "include/spec", "tests/sweep")
MAX_WAITING = 20
ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def code_digest() -> str:
    """Return a digest of the code that a result depends on: other code, other results."""
    digest = hashlib.sha256()
    for folder in CODE:
        for path in sorted((REPOSITORY / folder).rglob("*.py")):
            digest.update(path.relative_to(REPOSITORY).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


class Results:
    """The outcomes in a file, one line each; those of other code, or of other numbers of rows, do not count."""

    def __init__(self, path: Path, rows: int, code: str) -> None:
        self.path, self.rows, self.code = path, rows, code
        self.found: dict[str, dict[str, Any]] = {}
        path.parent.mkdir(parents=True, exist_ok=True)
        for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
            record = json.loads(line)
            if (record["code"], record["rows"]) == (code, rows):
                self.found[record["name"]] = record

    def add(self, name: str, outcome: dict[str, Any]) -> dict[str, Any]:
        record = {"name": name, "code": self.code, "rows": self.rows, **outcome}
        self.found[name] = record
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
        return record


@dataclass(slots=True)
class Worker:
    """A process that runs one configuration after the other."""

    process: Any
    pipe: Connection
    name: str = ""
    stage: str = ""
    since: float = 0.0
    used: float = 0.0

    @classmethod
    def start(cls, rows: int) -> Worker:
        ours, theirs = SPAWN.Pipe()
        process = SPAWN.Process(target=_serve, args=(theirs, rows))  # no daemon: a conversion may start a process
        process.start()
        theirs.close()
        return cls(process, ours)

    def give(self, name: str) -> None:
        self.name, self.stage = name, "start"
        self.since, self.used = time.monotonic(), self._cpu()
        self.pipe.send(name)

    def took(self) -> tuple[float, float]:
        """Return the seconds of work, and those that passed."""
        return self._cpu() - self.used, time.monotonic() - self.since

    def _cpu(self) -> float:
        try:
            times = psutil.Process(self.process.pid).cpu_times()
        except psutil.NoSuchProcess:  # it has ended, which its pipe will report
            return self.used
        return float(times.user + times.system)

    def stop(self) -> None:
        self.process.kill()
        self.process.join()
        self.pipe.close()


def _serve(pipe: Connection, rows: int) -> None:
    import onnxruntime

    from tests.sweep.configurations import configurations
    from tests.sweep.trial import run

    onnxruntime.set_default_logger_severity(4)  # its errors are in the outcomes
    known = configurations()
    while True:
        try:
            name = pipe.recv()
        except EOFError:
            return
        outcome = run(known[name].problem(), rows, lambda stage: pipe.send(("stage", stage)))
        pipe.send(("outcome", outcome.to_dict()))


def run_all(
    names: Iterable[str], workers: int, rows: int, seconds: float, done: Callable[[str, dict[str, Any]], None]
) -> None:
    """Run the configurations, `workers` at a time, and call `done` with each name and outcome.

    One that computes for longer than `seconds` is killed, and so is one that takes `MAX_WAITING` times as long since it
    waits, or the machine is busy. One whose process ends is reported.
    """
    for variable in ONE_THREAD:
        os.environ[variable] = "1"
    waiting = iter(list(names))
    busy: list[Worker] = []
    for _ in range(workers):
        _next(Worker.start(rows), waiting, busy)
    try:
        while busy:
            ready = wait([each.pipe for each in busy], timeout=1.0)
            for worker in list(busy):
                outcome = _look(worker, worker.pipe in ready, seconds)
                if outcome is None:
                    continue
                busy.remove(worker)
                done(worker.name, outcome)
                if outcome["result"] == "timeout" or not worker.process.is_alive():
                    worker.stop()
                    worker = Worker.start(rows)
                _next(worker, waiting, busy)
    finally:
        for worker in busy:
            worker.stop()


def _next(worker: Worker, waiting: Iterator[str], busy: list[Worker]) -> None:
    name = next(waiting, None)
    if name is None:
        worker.stop()
        return
    worker.give(name)
    busy.append(worker)


def _look(worker: Worker, ready: bool, seconds: float) -> dict[str, Any] | None:
    """Return the outcome of what a worker does, if there is one."""
    worked, took = worker.took()
    if ready:
        try:
            kind, content = worker.pipe.recv()
        except (EOFError, ConnectionError):
            worker.process.join()
            return _ended(worker, took, "traceback", f"the process ended with exit code {worker.process.exitcode}")
        if kind == "outcome":
            found: dict[str, Any] = content
            return found
        worker.stage = content
        return None
    if worked > seconds or took > MAX_WAITING * seconds:
        return _ended(worker, took, "timeout", f"no end within {seconds:g} s, in the stage '{worker.stage}'")
    return None


def _ended(worker: Worker, took: float, result: str, message: str) -> dict[str, Any]:
    # Before the conversion, it is scikit-learn that takes the time.
    slow = worker.stage in ("start", "fit", "scikit-learn") and result == "timeout"
    return {
        "result": result,
        "scikit_learn": f"takes longer than the limit ({worker.stage})" if slow else "answers",
        "stage": worker.stage,
        "step": "",
        "message": message,
        "kinds": {},
        "seconds": round(took, 2),
    }
