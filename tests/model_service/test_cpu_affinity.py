"""Workers share out the machine's cores, and a successor takes the place of who died."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import psutil
import pytest

from model_service.server.cpu_affinity import CpuPinner

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux binds a process to a core")
MINE = os.sched_getaffinity(0) if sys.platform == "linux" else set()


class Worker:
    """A process that takes a core and keeps it until it is killed."""

    def __init__(self, cores: CpuPinner) -> None:
        here, there = get_context("fork").Pipe()
        self.process = get_context("fork").Process(target=self._work, args=(cores, there), daemon=True)
        self.process.start()
        self.taken, self.bound_to = here.recv()

    @staticmethod
    def _work(cores: CpuPinner, there: Connection) -> None:
        there.send((cores.pin(), os.sched_getaffinity(0)))
        there.recv()

    def kill(self) -> None:
        self.process.kill()
        self.process.join()


def test_each_worker_stays_on_a_core_of_its_own_and_a_successor_takes_the_place_of_the_dead() -> None:
    cores = CpuPinner(len(MINE))
    workers = [Worker(cores) for _ in MINE]
    assert {each.taken for each in workers} == MINE
    assert all(each.bound_to == {each.taken} for each in workers)
    assert Worker(cores).bound_to == MINE  # one too many: the kernel chooses
    workers[0].kill()
    assert Worker(cores).taken == workers[0].taken


def test_twice_as_many_workers_share_the_cores_evenly() -> None:
    cores = CpuPinner(2 * len(MINE))
    taken = [Worker(cores).taken for _ in range(2 * len(MINE))]
    assert sorted(taken) == sorted([*MINE, *MINE])


def test_fewer_workers_than_cores_are_not_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2})
    assert CpuPinner(2).pin() is None
    assert CpuPinner(0).pin() is None


def bound(process: psutil.Process) -> set[frozenset[int]]:
    """Return the cores that the threads of a process may use."""
    return {frozenset(os.sched_getaffinity(int(each.name))) for each in Path(f"/proc/{process.pid}/task").iterdir()}


@pytest.mark.parametrize(("setting", "wanted"), [("1", {frozenset({core}) for core in MINE}), ("0", {frozenset(MINE)})])
def test_all_threads_of_a_running_worker_stay_where_it_does(
    harness: Any, run_service: Callable[..., Any], setting: str, wanted: set[frozenset[int]]
) -> None:
    harness.declare("iris")
    harness.champion("iris")
    service = run_service(workers=len(MINE), SLUICE_SERVICE_CPU_AFFINITY=setting)
    service.wait_until(lambda: service.ask("GET", "/ready")[0] == 200)
    workers = psutil.Process(service.process.pid).children()
    service.wait_until(lambda: set().union(*map(bound, workers)) == wanted)
    workers[0].kill()
    service.wait_until(lambda: len(psutil.Process(service.process.pid).children()) == len(MINE))
    service.wait_until(lambda: set().union(*map(bound, psutil.Process(service.process.pid).children())) == wanted)
