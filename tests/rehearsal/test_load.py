"""The load of a rehearsal: what it counts, and which time it says was kept to."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.rehearsal.load import Timings, run_load


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0.01, 1))
def test_a_percentile_is_a_time_that_was_taken_and_kept_to_by_at_least_that_share(
    taken: list[float], share: float
) -> None:
    found = Timings(taken).percentile(share)
    assert found in taken
    assert sum(each <= found for each in taken) >= share * len(taken) - 1e-9
    assert sum(each < found for each in taken) < share * len(taken)


def test_of_no_answers_there_is_no_percentile() -> None:
    assert Timings().percentile(0.99) is None


class Answers(BaseHTTPRequestHandler):
    """Answers every third request of all with 503."""

    protocol_version = "HTTP/1.1"
    count = 0

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        Answers.count += 1
        body = b"{}" * 40_000  # more than one piece
        self.send_response(503 if Answers.count % 3 == 0 else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Keep the test's output clean."""


@pytest.fixture
def port() -> Iterator[int]:
    Answers.count = 0
    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


def test_each_answer_after_the_warm_up_is_timed_and_each_refusal_counted(port: int) -> None:
    timings = run_load(port, "/", {}, [b"a", b"bb"], requests=60, warm_up=0, max_seconds=60)
    assert timings.refused == 20
    assert len(timings.milliseconds) == 40
    assert min(timings.milliseconds) > 0


def test_a_load_ends_when_its_time_is_over(port: int) -> None:
    timings = run_load(port, "/", {}, [b"a"], requests=10_000_000, warm_up=0, max_seconds=0.2)
    assert 0 < len(timings.milliseconds) < 10_000_000
