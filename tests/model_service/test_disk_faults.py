"""The disk under SLUICE_HOME is full, read-only, out of inodes or emptied: predictions go on, and the loss is told."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.model_service.test_observability import page, value

SETOSA = [5.1, 3.5, 1.4, 0.2]
FAULT_SECONDS = 3.0  # several flushes of the logs


class Disk:
    """A file system in memory, of a few MiB, mounted for the test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True)
        self.mount("-t", "tmpfs", "-o", "size=4m,nr_inodes=400", "tmpfs")

    def mount(self, *options: str) -> None:
        done = subprocess.run(["mount", *options, str(self.folder)], capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"NOT TESTED: a file system cannot be mounted here (root is needed): {done.stderr.strip()}")

    @contextmanager
    def full(self) -> Iterator[None]:
        filling = self.folder / "filling"
        with filling.open("wb", buffering=0) as file:
            try:
                while file.write(b"x" * 4096):
                    pass
            except OSError:
                pass
        yield
        filling.unlink()

    @contextmanager
    def out_of_inodes(self) -> Iterator[None]:
        many = self.folder / "many"
        many.mkdir()
        for number in range(1000):
            try:
                (many / str(number)).touch()
            except OSError:
                break
        yield
        shutil.rmtree(many)

    @contextmanager
    def read_only(self) -> Iterator[None]:
        self.mount("-o", "remount,ro")
        yield
        self.mount("-o", "remount,rw")

    @contextmanager
    def emptied(self) -> Iterator[None]:
        for each in self.folder.iterdir():
            shutil.rmtree(each)
        yield

    def release(self) -> None:
        subprocess.run(["umount", "-l", str(self.folder)], check=False)


@pytest.fixture
def disk(harness: Any) -> Iterator[Disk]:
    """The home of the service: a disk of its own."""
    disk = Disk(harness.settings.home)
    yield disk
    disk.release()


class Asking:
    """Asks for predictions on connections that are kept; remembers what did not succeed."""

    def __init__(self, port: int, connections: int = 2) -> None:
        self.port, self.stopping = port, threading.Event()
        self.answered, self.failures = 0, []
        self.threads = [threading.Thread(target=self.ask) for _ in range(connections)]

    def ask(self) -> None:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=20)
        while not self.stopping.is_set():
            try:
                connection.request("POST", "/predict", json.dumps({"features": SETOSA}))
                answer = connection.getresponse()
                body = answer.read()
                if answer.status != 200:
                    self.failures.append((answer.status, body))
            except Exception as error:  # noqa: BLE001  # such as a reset: it is what the test looks for
                self.failures.append(repr(error))
                connection.close()
            self.answered += 1
            time.sleep(0.005)
        connection.close()

    def __enter__(self) -> Asking:
        for each in self.threads:
            each.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        for each in self.threads:
            each.join()


def workers(service: Any) -> set[int]:
    return {each.pid for each in psutil.Process(service.process.pid).children()}


def served(harness: Any, run_service: Callable[..., Any], **settings: str) -> Any:
    harness.declare("iris")
    harness.champion("iris")
    service = run_service(workers=2, SLUICE_SERVICE_ACCESS_LOG="file", **settings)
    service.wait_until(lambda: len(re.findall(r"sluice_model_version\{.*\} 1\.0", page(service))) == 2)
    return service


def logged(home: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (home / "logs" / "access.log").read_text().splitlines()]


COUNT = "sluice_http_request_duration_seconds_count"
DROPPED = "sluice_log_records_dropped_total"


def slow(fault: str) -> Any:
    return pytest.param(fault, marks=pytest.mark.slow)


@pytest.mark.parametrize("fault", ["full", slow("out_of_inodes"), slow("read_only"), "emptied"])
def test_a_fault_of_the_disk_stops_no_prediction_and_what_is_lost_is_told(
    harness: Any, run_service: Callable[..., Any], disk: Disk, fault: str
) -> None:
    service = served(harness, run_service)
    before = workers(service)
    if fault == "out_of_inodes":  # the log is new: otherwise it needs no inode
        shutil.rmtree(disk.folder / "logs", ignore_errors=True)
    with getattr(disk, fault)():
        with Asking(service.port) as asking:
            time.sleep(FAULT_SECONDS)
        assert asking.answered > 20
        assert asking.failures == []
        assert workers(service) == before, "no worker may die"
        service.wait_until(lambda: value(page(service), COUNT, route="/predict", status=200) == asking.answered)
        if fault != "emptied":  # its folder is created again
            service.wait_until(lambda: value(page(service), DROPPED, log="access") > 0)
            text = service.log.read_text()
            told = re.findall(r"the access log cannot be written.*half second", text)
            assert 1 <= len(told) <= len(before), "told once by each worker"
    answered = asking.answered
    with Asking(service.port) as asking:
        service.wait_until(lambda: (disk.folder / "logs" / "access.log").exists() and bool(logged(disk.folder)))
        time.sleep(1)
    assert asking.failures == []
    service.wait_until(lambda: value(page(service), COUNT, route="/predict", status=200) == answered + asking.answered)
    if fault != "emptied":  # which took lines that had been written

        def every_line_is_written_or_counted() -> bool:
            written = sum(each["route"] == "/predict" for each in logged(disk.folder))
            return written + value(page(service), DROPPED, log="access") >= answered + asking.answered

        service.wait_until(every_line_is_written_or_counted, seconds=20)
    assert workers(service) == before
    assert service.stop() == 0


@pytest.mark.parametrize("fault", [slow("full"), slow("out_of_inodes"), "read_only"])
def test_it_starts_on_a_disk_that_takes_nothing(
    harness: Any, run_service: Callable[..., Any], disk: Disk, fault: str
) -> None:
    harness.declare("iris")
    harness.champion("iris")
    with getattr(disk, fault)():
        service = served_again(run_service)
        with Asking(service.port) as asking:
            time.sleep(1)
        assert asking.failures == []
        service.wait_until(lambda: value(page(service), COUNT, route="/predict", status=200) == asking.answered)
        assert service.stop() == 0


def served_again(run_service: Callable[..., Any]) -> Any:
    service = run_service(workers=2, SLUICE_SERVICE_ACCESS_LOG="file")
    service.wait_until(lambda: service.ask("GET", "/ready")[0] == 200, seconds=40)
    return service


def shared_files(pid: int) -> list[Path]:
    return [each for each in Path(f"/proc/{pid}/fd").iterdir() if "sluice-metrics" in str(each.readlink())]


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(b"", id="empty", marks=pytest.mark.slow),
        pytest.param(b"\0" * 4096, id="zeros", marks=pytest.mark.slow),
        pytest.param(b"\xff" * 4096, id="garbage"),
    ],
)
def test_metrics_that_cannot_be_read_are_left_out_counted_and_written_again(
    harness: Any, run_service: Callable[..., Any], damage: bytes
) -> None:
    harness.declare("iris")
    harness.champion("iris")
    service = run_service(workers=2)
    service.wait_until(lambda: len(re.findall(r"sluice_model_version\{.*\} 1\.0", page(service))) == 2)
    unreadable = "sluice_worker_metrics_unreadable_total"
    deadline = time.monotonic() + 60
    while not value(page(service), unreadable):  # until a scrape comes between the damage and the next writing
        assert time.monotonic() < deadline
        for file in shared_files(service.process.pid):
            if file.stat().st_size:
                file.write_bytes(damage or b"x")
        with Asking(service.port) as asking:
            time.sleep(0.05)
        assert asking.failures == []
    service.wait_until(lambda: len(re.findall(r"sluice_model_version\{.*\} 1\.0", page(service))) == 2)
    assert "/metrics lacks a worker" in service.log.read_text()


def test_a_pipe_that_nobody_reads_stops_no_prediction_and_no_scrape(
    harness: Any, run_service: Callable[..., Any], tmp_path: Path
) -> None:
    harness.declare("iris")
    harness.champion("iris")
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    nobody = os.open(pipe, os.O_RDWR)  # keeps it open, and reads nothing
    starter = tmp_path / "python"
    starter.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@" > "{pipe}"\n')
    starter.chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "executable", str(starter))
        service = run_service(workers=2, SLUICE_SERVICE_ACCESS_LOG="stdout")
    try:
        service.wait_until(lambda: len(re.findall(r"sluice_model_version\{.*\} 1\.0", page(service))) == 2)
        asked = 0
        while asked < 1200:  # a pipe holds 64 KiB, which is 300 lines
            with Asking(service.port, connections=8) as asking:
                time.sleep(1)
            asked += asking.answered
            assert asking.failures == []
        service.wait_until(lambda: value(page(service), COUNT, route="/predict", status=200) == asked)
        # Now somebody reads: granian's main process writes there, too, when it stops.
        threading.Thread(target=lambda: [None for _ in iter(lambda: os.read(nobody, 65_536), b"")], daemon=True).start()
        assert service.stop() == 0
    finally:
        service.process.kill()
