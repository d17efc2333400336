"""StatsD, received on a real socket."""

from __future__ import annotations

import logging
import re
import socket
from collections.abc import Iterator

import pytest

from include.telemetry import FaultLog, Telemetry


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.settimeout(2)
        yield listener


@pytest.fixture
def telemetry(listener: socket.socket) -> Iterator[Telemetry]:
    host, port = listener.getsockname()
    telemetry = Telemetry(host, port)
    yield telemetry
    telemetry.close()


def received(listener: socket.socket) -> str:
    return listener.recv(1024).decode()


def test_a_count_arrives(telemetry: Telemetry, listener: socket.socket) -> None:
    telemetry.count("iris.score.rows", 150)
    assert received(listener) == "sluice.iris.score.rows:150|c"


def test_a_duration_travels_in_milliseconds_as_the_protocol_wants(
    telemetry: Telemetry, listener: socket.socket
) -> None:
    telemetry.seconds("iris.train.seconds", 1.5)
    assert received(listener) == "sluice.iris.train.seconds:1500.000000|ms"


def test_a_level_arrives(telemetry: Telemetry, listener: socket.socket) -> None:
    telemetry.gauge("iris.train.rows", 120)
    assert received(listener) == "sluice.iris.train.rows:120|g"


def test_a_step_sends_its_time_and_that_it_went_well(telemetry: Telemetry, listener: socket.socket) -> None:
    with telemetry.step("iris", "train"):
        pass
    assert re.fullmatch(r"sluice\.iris\.train\.seconds:\d+\.\d+\|ms", received(listener))
    assert received(listener) == "sluice.iris.train.ok:1|c"


def test_a_step_that_fails_is_counted_as_failed_and_its_error_goes_on(
    telemetry: Telemetry, listener: socket.socket
) -> None:
    with pytest.raises(ZeroDivisionError), telemetry.step("iris", "train"):
        _ = 1 / 0
    received(listener)
    assert received(listener) == "sluice.iris.train.failed:1|c"


def test_with_no_host_nothing_is_sent_and_nothing_fails() -> None:
    silent = Telemetry(None, 8125)
    silent.count("a")
    silent.seconds("b", 1.0)
    silent.gauge("c", 2)
    with silent.step("iris", "train"):
        pass
    silent.close()


def test_a_host_that_does_not_exist_is_reported_and_fails_no_run(caplog: pytest.LogCaptureFixture) -> None:
    Telemetry("statsd.invalid", 8125).count("a")
    assert "SLUICE_STATSD_HOST" in caplog.text


def test_a_server_that_is_down_fails_no_run(listener: socket.socket, telemetry: Telemetry) -> None:
    listener.close()
    for _ in range(3):
        telemetry.count("a")


def test_a_fault_that_lasts_is_reported_once_a_minute_and_when_it_has_ended(caplog: pytest.LogCaptureFixture) -> None:
    clock = [0.0]
    fault = FaultLog(logging.getLogger("tests.fault"), "the log cannot be written", lambda: clock[0])
    fault.worked()
    assert caplog.messages == []
    for clock[0] in range(150):
        fault.failed("No space left on device")
    assert caplog.messages == ["the log cannot be written: No space left on device"] * 3
    fault.worked()
    fault.worked()
    assert caplog.messages[3:] == ["the log cannot be written: this has ended"]


def test_a_fault_that_comes_and_goes_is_not_reported_each_time(caplog: pytest.LogCaptureFixture) -> None:
    clock = [0.0]
    fault = FaultLog(logging.getLogger("tests.fault"), "the log cannot be written", lambda: clock[0])
    for clock[0] in range(60):
        fault.failed("No space left on device")
        fault.worked()
    assert len(caplog.messages) == 2
