"""Work with a time limit: its result and its errors come back; at the limit it is killed."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import HistGradientBoostingClassifier

from include.errors import ConversionError, TimeLimitError, WorkerDiedError
from include.time_limit import run_with_time_limit

LONG = 120.0  # of a test that must not meet its limit, on however slow a machine


def limited(work, seconds: float = LONG):
    return run_with_time_limit(work, seconds=seconds, step="conversion of a (A)")


@given(st.one_of(st.integers(), st.text(), st.binary(), st.lists(st.floats(allow_nan=False))))
@settings(max_examples=15)  # each is a process
def test_a_result_comes_back_as_it_is(value: object) -> None:
    assert limited(lambda: value) == value


def test_a_result_of_many_megabytes_comes_back() -> None:
    content = np.random.default_rng(0).bytes(30 * 2**20)
    assert limited(lambda: content) == content


def test_work_that_does_not_end_is_killed_and_named(tmp_path: Path) -> None:
    told = tmp_path / "pid"

    def endless() -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        told.write_text(str(os.getpid()))
        while True:
            sum(range(10_000))

    with pytest.raises(TimeLimitError, match=r"step conversion of a \(A\): expected it to end within 2 s") as caught:
        limited(endless, seconds=2)
    assert not caught.value.retryable
    assert not psutil.pid_exists(int(told.read_text()))


@pytest.mark.parametrize(
    "error", [ConversionError("m", "svc (SVC)", "no converter", "Use another."), KeyError("missing"), ValueError()]
)
def test_an_error_passes_through_with_its_type_and_message(error: Exception) -> None:
    def fails() -> None:
        raise error

    with pytest.raises(type(error)) as caught:
        limited(fails)
    assert str(caught.value) == str(error)
    assert vars(caught.value) == vars(error)


class HoldsALockError(Exception):
    def __init__(self) -> None:
        super().__init__("this and that")
        self.lock = threading.Lock()


def test_an_error_that_cannot_be_pickled_keeps_its_words() -> None:
    def fails() -> None:
        raise HoldsALockError

    with pytest.raises(RuntimeError, match="HoldsALockError: this and that"):
        limited(fails)


def test_a_result_that_cannot_be_pickled_is_an_error() -> None:
    with pytest.raises((RuntimeError, AttributeError, TypeError)):
        limited(lambda: lambda: None)


def test_a_process_that_is_killed_is_worth_a_retry() -> None:
    with pytest.raises(WorkerDiedError, match=r"its process ended without one \(exit code -9\)") as caught:
        limited(lambda: os.kill(os.getpid(), signal.SIGKILL))
    assert caught.value.retryable


def test_threads_of_openmp_that_the_parent_has_used_do_not_hang_the_child() -> None:
    x = np.random.default_rng(0).random((5_000, 4))
    estimator = HistGradientBoostingClassifier(max_iter=5).fit(x, x[:, 0] > 0.5)
    wanted = estimator.predict_proba(x)
    np.testing.assert_array_equal(limited(lambda: estimator.predict_proba(x)), wanted)


def test_the_child_ends_with_its_parent(tmp_path: Path) -> None:
    """A task that is killed with -9 leaves no conversion behind."""
    told = tmp_path / "pid"
    parent = os.fork()
    if parent == 0:

        def endless() -> None:
            told.write_text(str(os.getpid()))
            time.sleep(3600)

        run_with_time_limit(endless, seconds=3600, step="endless")
        os._exit(0)
    while not (told.exists() and told.read_text()):
        time.sleep(0.01)
    os.kill(parent, signal.SIGKILL)
    os.waitpid(parent, 0)
    child = int(told.read_text())
    while psutil.pid_exists(child) and psutil.Process(child).status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.01)
