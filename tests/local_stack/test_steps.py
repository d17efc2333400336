"""Steps start when what they need is done; the first failure stops the rest and tells what to do."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable
from graphlib import CycleError
from pathlib import Path

import pytest

from deploy.local_stack import steps
from deploy.local_stack.errors import LocalStackError, StoppedError
from deploy.local_stack.polling import poll_until
from deploy.local_stack.progress import ProgressReporter
from deploy.local_stack.steps import Failure, Note, StackStep, StepResult, StepRunner
from include.errors import NoChampionError


def runner(*given: StackStep, watch: Callable[[], None] = lambda: None) -> StepRunner:
    return StepRunner(given, ProgressReporter(io.StringIO()), threading.Event(), Path("launcher.log"), watch)


def told(run: StepRunner) -> str:
    assert isinstance(run.progress.stream, io.StringIO)
    return run.progress.stream.getvalue()


def test_a_step_waits_for_what_it_needs_and_others_run_beside_it() -> None:
    order: list[str] = []
    meet = threading.Barrier(2, timeout=5)

    def beside(name: str) -> Callable[[Note], StepResult]:
        def work(_: Note) -> StepResult:
            meet.wait()
            order.append(name)
            return StepResult()

        return work

    def last(_: Note) -> StepResult:
        order.append("last")
        return StepResult()

    run = runner(StackStep("a", beside("a")), StackStep("b", beside("b")), StackStep("last", last, ("a", "b")))
    assert run.run() is None
    assert order[-1] == "last"
    assert set(order) == {"a", "b", "last"}


def test_steps_that_wait_for_each_other_are_refused() -> None:
    run = runner(StackStep("a", lambda _: StepResult(), ("b",)), StackStep("b", lambda _: StepResult(), ("a",)))
    with pytest.raises(CycleError):
        run.run()


def test_a_failed_step_is_told_with_name_reason_log_and_advice_and_stops_the_others() -> None:
    def failing(_: Note) -> StepResult:
        raise LocalStackError("expected an oven; found none.", "Buy one.", Path("/var/log/oven.log"))

    def waiting(_: Note) -> StepResult:
        return poll_until(lambda: None, run.stop, timeout=30, on_timeout=TimeoutError)

    run = runner(StackStep("heat", failing), StackStep("wait", waiting), StackStep("bake", waiting, ("heat",)))
    failure = run.run()
    assert failure is not None
    assert failure.lines() == [
        "FAILED: heat",
        "  reason:     expected an oven; found none.",
        "  log:        /var/log/oven.log",
        "  what to do: Buy one.",
    ]
    assert "failed  heat" in told(run)
    assert "stopped wait" in told(run)
    assert "bake" not in told(run)


def test_an_error_that_nobody_foresaw_names_its_type_and_the_launchers_log() -> None:
    failure = Failure.from_error("bake", ZeroDivisionError("division by zero"), Path("launcher.log"))
    assert failure.reason == "ZeroDivisionError: division by zero"
    assert failure.log == Path("launcher.log")
    assert "make clean" in failure.advice


def test_an_error_of_sluice_keeps_its_own_sentence() -> None:
    assert "has no champion" in Failure.from_error("score", NoChampionError("iris"), Path("launcher.log")).reason


def test_a_process_that_dies_while_steps_run_is_the_failure() -> None:
    def dead() -> None:
        raise LocalStackError("scheduler was killed by SIGKILL", "Read its log.", Path("scheduler.log"))

    def waiting(_: Note) -> StepResult:
        return poll_until(lambda: None, run.stop, timeout=30, on_timeout=TimeoutError)

    run = runner(StackStep("retrain", waiting), watch=dead)
    failure = run.run()
    assert failure is not None
    assert (failure.title, failure.reason) == ("retrain", "scheduler was killed by SIGKILL")


def test_stopping_from_outside_is_no_failure_and_does_not_wait_for_a_step_that_cannot_look(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(steps, "STOP_TIMEOUT_SECONDS", 0.3)
    deaf, ended = threading.Event(), threading.Event()

    def deep_in_the_database(_: Note) -> StepResult:
        deaf.wait(60)
        ended.set()
        return StepResult()

    run = runner(StackStep("load", deep_in_the_database))
    threading.Timer(0.1, run.stop.set).start()
    assert run.run() is None
    assert not ended.is_set()
    deaf.set()


def test_waiting_gives_up_with_the_error_it_was_given_or_at_once_when_stopped() -> None:
    with pytest.raises(TimeoutError):
        poll_until(lambda: None, threading.Event(), timeout=0.1, on_timeout=TimeoutError, interval=0.02)
    stop = threading.Event()
    stop.set()
    with pytest.raises(StoppedError):
        poll_until(lambda: None, stop, timeout=30, on_timeout=TimeoutError)
