"""The work of a request grows no faster than its bytes: counted, not timed, for each input of the benchmark."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from benchmarks.request_cost import KINDS, Kind, answer, bearer, environ_of, service, sizes

SMALLEST, DOUBLINGS = 1_024, 6
# Methods in C that look at the whole object, whatever their argument is.
WHOLE = {"count", "index", "remove", "insert", "sort", "copy", "reverse", "replace", "split", "translate", "join"}


def operations(call: Callable[[], Any]) -> int:
    """Return the work of `call`: its bytecode instructions, and the elements of what its methods in C go through."""
    total = 0

    def trace(frame: FrameType, event: str, _of: Any) -> Any:
        nonlocal total
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        total += event == "opcode"
        return trace

    def profile(_frame: FrameType, event: str, of: Any) -> None:
        nonlocal total
        if event == "c_call" and of.__name__ in WHOLE and isinstance(of.__self__, list | tuple | str | bytes):
            total += len(of.__self__)

    tracing = sys.gettrace()
    sys.settrace(trace)
    sys.setprofile(profile)
    try:
        call()
    finally:
        sys.setprofile(None)
        sys.settrace(tracing)
    return total


@pytest.fixture(scope="module")
def ask(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Kind, int], tuple[int, int]]:
    """Sends an input of so many bytes; returns operations and status."""
    app, authorization = service(tmp_path_factory.mktemp("home")), bearer()

    def send(kind: Kind, size: int) -> tuple[int, int]:
        found: list[tuple[int, bytes]] = []
        environ = environ_of(kind.make(size), authorization)
        count = operations(lambda: found.append(answer(app, environ)))
        return count, found[0][0]

    return send


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_the_work_of_a_request_grows_no_faster_than_its_bytes(
    kind: Kind, ask: Callable[[Kind, int], tuple[int, int]]
) -> None:
    ask(kind, SMALLEST)  # what is imported or cached at the first request is no work of the input
    given = sizes(min(kind.limit, SMALLEST << DOUBLINGS), DOUBLINGS)
    counts, statuses = zip(*(ask(kind, size) for size in given), strict=True)
    assert 500 not in statuses
    for size, count in zip(given, counts, strict=True):
        assert count <= 1.3 * counts[0] * size / given[0], counts


def test_quadratic_work_would_be_noticed() -> None:
    def quadratic(size: int) -> None:
        names = [str(at % 7) for at in range(size)]
        _ = [name for name in names if names.count(name) > 1]

    assert operations(lambda: quadratic(2_000)) > 3 * operations(lambda: quadratic(1_000))
