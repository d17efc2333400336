"""A port that is taken is never fought over: the next free one is used."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from deploy.local_stack import ports
from deploy.local_stack.errors import LocalStackError
from deploy.local_stack.ports import free_port
from include.ports import any_free_port, is_free


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_a_free_port_is_used_as_asked(taken: int) -> None:
    wanted = free_port(taken + 1)
    assert free_port(wanted) == wanted


def test_any_free_port_is_one_that_nobody_listens_on() -> None:
    assert is_free(any_free_port())


def test_a_taken_port_gives_a_later_free_one(taken: int) -> None:
    found = free_port(taken)
    assert found > taken
    assert is_free(found)


def test_a_port_taken_on_every_address_counts_as_taken() -> None:
    with socket.socket() as listener:
        listener.bind(("0.0.0.0", 0))  # noqa: S104  # the point of the test
        listener.listen()
        assert not is_free(listener.getsockname()[1])


def test_a_port_promised_to_another_process_is_left_alone(taken: int) -> None:
    first = free_port(taken)
    assert free_port(taken, reserved=(first,)) > first


def test_when_none_is_free_the_error_says_which_variables_to_set(taken: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "MAX_OFFSET", 0)
    with pytest.raises(LocalStackError, match=f"from {taken} to {taken}.*SLUICE_SERVICE_PORT"):
        free_port(taken)
