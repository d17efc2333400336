"""How much is taken at once, and what whoever asks for more is told."""

from __future__ import annotations

import fcntl
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, nullcontext, suppress
from functools import partial
from http.client import HTTPConnection, HTTPException, HTTPResponse
from pathlib import Path
from typing import Any
from unittest import mock

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from model_service import create_app
from model_service.http import json_structure, limits
from model_service.http.errors import CallerOverloadedError, MalformedBodyError, OverloadedError, RateLimitedError
from model_service.http.json_structure import (
    MAX_DIGITS,
    PIECE_BYTES,
    Structure,
    check_depth,
    check_digits,
    count_members,
    read_structure,
)
from model_service.http.limits import SMALL_BODY_BYTES, ConcurrencyLimiter, LargeBodySemaphore, RateLimiter
from model_service.http.problems import timeout_response
from model_service.http.request_context import RequestContext
from model_service.openapi.document import OIP_ERROR, PROBLEM
from model_service.server.request_timeout import SlowRequestReaper

SETOSA = [5.1, 3.5, 1.4, 0.2]


# -- the rate of one caller ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def settled(both_ways: Any) -> Any:
    return both_ways


def taken(limiter: RateLimiter, caller: str) -> bool:
    try:
        limiter.acquire(caller)
    except RateLimitedError:
        return False
    return True


@given(
    rate=st.sampled_from([0.5, 1.0, 10.0, 1000.0]),
    burst=st.integers(1, 20),
    waits=st.lists(st.floats(0, 3), min_size=1, max_size=80),
)
def test_in_any_stretch_of_time_a_caller_gets_at_most_the_burst_and_the_rate(
    rate: float, burst: int, waits: list[float]
) -> None:
    now = 100.0
    limiter = RateLimiter(rate, burst, lambda: now)
    times = []
    for wait in waits:
        now += wait
        if taken(limiter, "shop"):
            times.append(now)
    for first in range(len(times)):
        for last in range(first, len(times)):
            assert last - first + 1 <= burst + rate * (times[last] - times[first]) + 1e-6


@given(
    rate=st.sampled_from([0.5, 1.0, 10.0]),
    burst=st.integers(1, 20),
    waits=st.lists(st.floats(0, 3), min_size=1, max_size=80),
)
def test_it_decides_as_a_bucket_that_is_refilled_does(rate: float, burst: int, waits: list[float]) -> None:
    now = 100.0
    limiter = RateLimiter(rate, burst, lambda: now)
    tokens, filled = float(burst), now
    for wait in waits:
        now += wait
        tokens, filled = min(burst, tokens + (now - filled) * rate), now
        if abs(tokens - 1) < 1e-6:  # a tie, which rounding decides
            return
        assert taken(limiter, "shop") == (tokens >= 1)
        tokens -= tokens >= 1


@given(st.lists(st.sampled_from("abc"), max_size=60))
def test_callers_do_not_use_each_others_requests_up(asked: list[str]) -> None:
    limiter = RateLimiter(1, 5, lambda: 0.0)
    got = [each for each in asked if taken(limiter, each)]
    assert {each: got.count(each) for each in "abc"} == {each: min(5, asked.count(each)) for each in "abc"}


@given(waits=st.lists(st.floats(0, 2), min_size=2, max_size=40))
def test_whoever_waits_as_told_gets_in(waits: list[float]) -> None:
    now = 0.0
    limiter = RateLimiter(2, 3, lambda: now)
    for wait in waits:
        now += wait
        try:
            limiter.acquire("shop")
        except RateLimitedError as refused:
            now += float(refused.headers["Retry-After"])
            limiter.acquire("shop")


def test_a_million_made_up_callers_do_not_fill_the_memory() -> None:
    now = 0.0
    limiter = RateLimiter(1, 2, lambda: now, max_callers=100)
    for number in range(10_000):
        now += 0.001
        limiter.acquire(f"caller-{number}")
        assert len(limiter) <= 100


def test_too_many_requests_of_one_caller_are_429_and_say_when_to_come_back(settled: Any) -> None:
    settings = settled.harness.settings.model_copy(
        update={
            "service_rate_limit": 0.5,
            "service_rate_limit_burst": 3,
            "service_workers": 1,
            "service_access_log": "off",
        }
    )
    client = create_app(settings, settled.registry, settled.harness.engine).test_client()
    answers = [client.post("/predict", json={"features": SETOSA}) for _ in range(4)]
    assert [each.status_code for each in answers] == [200, 200, 200, 429]
    assert answers[-1].headers["Retry-After"] == "2"
    assert answers[-1].get_json()["type"] == "urn:sluice:problem:rate-limited"
    assert client.get("/health").status_code == 200


def test_a_caller_is_told_the_rate_of_the_service_and_the_share_of_it_that_a_worker_grants(settled: Any) -> None:
    settings = settled.harness.settings.model_copy(
        update={
            "service_rate_limit": 0.5,
            "service_rate_limit_burst": 4,
            "service_workers": 2,
            "service_access_log": "off",
        }
    )
    client = create_app(settings, settled.registry, settled.harness.engine).test_client()
    answers = [client.post("/predict", json={"features": SETOSA}) for _ in range(3)]
    assert [each.status_code for each in answers] == [200, 200, 429]
    assert answers[-1].headers["Retry-After"] == "4"
    assert answers[-1].get_json()["detail"] == (
        "rate limit exceeded: at most 0.5 requests a second from one caller (0.25 on each of 2 workers). "
        "Wait for the number of seconds in Retry-After, or ask the operator to raise SLUICE_SERVICE_RATE_LIMIT "
        "(0: no limit)."
    )


# -- nesting ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cores", "workers", "at_once"), [(1, 1, 1), (1, 2, 1), (2, 2, 2), (8, 2, 4), (9, 2, 5), (64, 64, 2)]
)
def test_large_bodies_wait_for_each_other_and_small_ones_for_nobody(
    monkeypatch: pytest.MonkeyPatch, cores: int, workers: int, at_once: int
) -> None:
    monkeypatch.setattr(limits, "usable_cores", lambda: cores)
    large_bodies = LargeBodySemaphore(workers)
    large, small = bytes(SMALL_BODY_BYTES + 1), bytes(SMALL_BODY_BYTES)
    one_more = threading.Event()

    def ask() -> None:
        with large_bodies.limit(large):
            one_more.set()

    with ExitStack() as taken:
        for _ in range(at_once):
            taken.enter_context(large_bodies.limit(large))
        waits = threading.Thread(target=ask, daemon=True)
        waits.start()
        with large_bodies.limit(small):
            assert not one_more.wait(0.1)
    waits.join(10)
    assert one_more.is_set()


def depth_of(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + max(map(depth_of, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(depth_of, value), default=0)
    return 0


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(alphabet='ab[]{}"\\/\n\u20ac'),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(alphabet='a[]{}"\\'), inner, max_size=4),
    max_leaves=25,
)


@given(JSON, st.integers(1, 8), st.booleans())
def test_json_deeper_than_the_limit_is_refused_and_no_other(value: Any, most: int, ascii_only: bool) -> None:
    body = json.dumps(value, ensure_ascii=ascii_only).encode()
    if depth_of(value) > most:
        with pytest.raises(MalformedBodyError, match="levels of nesting"):
            check_depth(body, most)
    else:
        check_depth(body, most)


@given(st.binary(max_size=200))
def test_what_is_no_json_is_left_to_the_parser_or_refused_never_worse(body: bytes) -> None:
    with suppress(MalformedBodyError):
        check_depth(body, 3)


def parts_of(value: Any) -> Iterator[tuple[int, int, int, int]]:
    """Yield lists, objects, members and commas of each list and object in a document."""
    if isinstance(value, dict):
        yield 0, 1, len(value), max(len(value) - 1, 0)
    elif isinstance(value, list):
        yield 1, 0, 0, max(len(value) - 1, 0)
    for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from parts_of(each)


@given(JSON, st.integers(1, 40), st.integers(0, 5), st.booleans())
def test_what_is_counted_does_not_depend_on_where_a_body_is_cut_into_pieces(
    value: Any, piece: int, expected: int, ascii_only: bool
) -> None:
    body = json.dumps(value, ensure_ascii=ascii_only).encode()
    with mock.patch.multiple(json_structure, PIECE_BYTES=piece, COUNTED_BYTES=piece):
        found = read_structure(body)
        with nullcontext() if depth_of(value) <= 3 else pytest.raises(MalformedBodyError):
            check_depth(body, 3)
        members = count_members(body, expected)
    parts = [sum(each) for each in zip(*parts_of(value), strict=True)] or [0, 0, 0, 0]
    assert found == Structure(depth_of(value), *parts)
    assert (members == expected) == (found.members == expected) or members >= found.members
    assert (members > expected) <= (found.members > expected)


@given(
    st.integers(MAX_DIGITS - 2, MAX_DIGITS + 3),
    st.integers(0, 3),
    st.text(alphabet='12\\",x ', max_size=9),
    st.booleans(),
)
def test_a_number_of_too_many_digits_is_refused_and_a_string_of_them_is_not(
    digits: int, before: int, text: str, in_string: bool
) -> None:
    number = "7" * digits
    body = json.dumps([0] * before + [text, number if in_string else int(number[:300]), text]).encode()
    if not in_string:
        body = body.replace(number[:300].encode(), number.encode())
    for piece in (MAX_DIGITS // 3, MAX_DIGITS, 2 * MAX_DIGITS):
        with (
            mock.patch.multiple(json_structure, PIECE_BYTES=piece, LARGE_BYTES=0),
            nullcontext() if in_string or digits <= MAX_DIGITS else pytest.raises(MalformedBodyError, match="digits"),
        ):
            check_digits(body)


def nested(levels: int) -> bytes:
    return b'{"features": ' + b"[" * levels + b"]" * levels + b"}"


def test_deep_json_is_400(settled: Any) -> None:
    answer = settled.client.post("/predict", data=nested(2_000_000))
    assert answer.status_code == 400
    assert "SLUICE_SERVICE_MAX_DEPTH" in answer.get_json()["detail"]


def test_no_bracket_of_deep_json_is_looked_at_by_itself() -> None:
    def calls(levels: int) -> int:
        """Return how many functions are called until it is refused."""
        events: list[str] = []
        sys.setprofile(lambda _frame, event, _of: events.append(event))
        try:
            with suppress(MalformedBodyError):
                check_depth(nested(levels), 32)
        finally:
            sys.setprofile(None)
        return len(events)

    assert calls(200) < 100
    assert calls(200_000) < 100 + 400_000 / PIECE_BYTES * 20


# -- requests under way ----------------------------------------------------------------------------


@given(st.lists(st.booleans(), max_size=100), st.integers(1, 5))
def test_never_more_are_under_way_than_may_be(steps: list[bool], most: int) -> None:
    limiter = ConcurrencyLimiter(most)
    under_way: list[RequestContext] = []
    for arrives in steps:
        context = RequestContext({"REQUEST_METHOD": "POST"}, "/predict")
        if arrives and len(under_way) == most:
            with pytest.raises(OverloadedError):
                limiter.acquire(context)
        elif arrives:
            limiter.acquire(context)
            under_way.append(context)
        elif under_way:
            limiter.release(under_way.pop(0))
        assert len(limiter) == len(under_way)
        assert set(limiter.contexts()) == set(under_way)
        assert (limiter.oldest_age() > 0) == bool(under_way)


@given(
    st.lists(st.tuples(st.booleans(), st.sampled_from("ab"), st.integers(0, 9)), max_size=100),
    st.integers(1, 6),
    st.integers(1, 6),
)
def test_never_more_of_one_caller_are_under_way_than_one_may_have(
    steps: list[tuple[bool, str, int]], most: int, of_one: int
) -> None:
    limiter = ConcurrencyLimiter(most, of_one)
    under_way: list[tuple[RequestContext, str | None]] = []
    for arrives, caller, which in steps:
        context = RequestContext({"REQUEST_METHOD": "POST"}, "/predict")
        if arrives and len(under_way) < most:
            limiter.acquire(context)
            if sum(each == caller for _, each in under_way) < of_one:
                limiter.assign(context, caller)
                under_way.append((context, caller))
            else:
                with pytest.raises(CallerOverloadedError):
                    limiter.assign(context, caller)
                under_way.append((context, None))  # it keeps its place until the refusal is sent
        elif under_way:
            limiter.release(under_way.pop(which % len(under_way))[0])
    for context, _ in under_way:
        limiter.release(context)
        limiter.release(context)  # once more changes nothing
    assert len(limiter) == 0
    for _ in range(of_one if of_one <= most else 0):
        context = RequestContext({"REQUEST_METHOD": "POST"}, "/predict")
        limiter.acquire(context)
        limiter.assign(context, "a")


def test_a_caller_whose_requests_never_end_leaves_places_to_the_others(
    harness: Any, run_service: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLUICE_SERVICE_MAX_CONCURRENCY", "4")
    secret = "a secret of this test, of 32 bytes or more"  # noqa: S105
    harness.declare("iris")
    harness.champion("iris")
    service = run_service(SLUICE_AUTH_SECRET=secret)
    service.wait_until(lambda: service.ask("GET", "/ready")[0] == 200)
    now = int(time.time())
    claims = {"iss": "sluice", "aud": "sluice", "iat": now, "exp": now + 600, "scope": "predict models"}
    greedy, other = (f"Bearer {jwt.encode(claims | {'sub': sub}, secret, 'HS256')}" for sub in ("greedy", "other"))
    waiting = [post_head(service.port, 1_000, Authorization=greedy) for _ in range(3)]
    service.wait_until(lambda: in_flight(service.port) == 3)

    def ask(authorization: str) -> tuple[int, Any]:
        connection = HTTPConnection("127.0.0.1", service.port, timeout=10)
        body = json.dumps({"features": [5.1, 3.5, 1.4, 0.2]})
        connection.request("POST", "/predict", body, {"Authorization": authorization})
        response = connection.getresponse()
        answer = json.loads(response.read())
        connection.close()
        return response.status, answer

    status, problem = ask(greedy)
    assert (status, problem["type"]) == (429, "urn:sluice:problem:caller-overloaded")
    assert "already handles 3 requests of this caller" in problem["detail"]
    assert "SLUICE_SERVICE_MAX_CONCURRENCY_PER_CALLER" in problem["detail"]
    for _ in range(10):
        assert ask(other)[0] == 200
    for each in waiting:
        each.close()
    service.wait_until(lambda: ask(greedy)[0] == 200)


def post_head(port: int, length: int, sent: bytes = b"", path: str = "/predict", **headers: str) -> socket.socket:
    """Send a request's head and a part of its body: a client that takes its time."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=8)
    head = f"POST {path} HTTP/1.1\r\nHost: sluice\r\nContent-Length: {length}\r\n"
    head += "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    connection.sendall(f"{head}\r\n".encode() + sent)
    return connection


def late_answer(connection: socket.socket) -> tuple[HTTPResponse, Any]:
    """Return what a client is told that did not send its request whole, and its body; the connection is closed."""
    with connection:
        answer = HTTPResponse(connection)
        answer.begin()
        document = json.loads(answer.read())
        assert answer.status == 408
        assert connection.recv(1) == b"", "and it is cut"
    return answer, document


def in_flight(port: int) -> float:
    """Return what the service says of itself; asking does not count."""
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    return float(
        next(line.split()[1] for line in text.splitlines() if line.startswith("sluice_http_requests_in_flight "))
    )


def test_one_request_more_than_may_be_under_way_is_503_with_retry_after(
    harness: Any, run_service: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLUICE_SERVICE_MAX_CONCURRENCY", "3")
    harness.declare("iris")
    harness.champion("iris")
    service = run_service(workers=1)
    service.wait_until(lambda: service.ask("GET", "/ready")[0] == 200)
    body = json.dumps({"features": SETOSA}).encode()
    slow = [post_head(service.port, len(body), body[:5]) for _ in range(3)]

    def refused() -> bool:
        connection = HTTPConnection("127.0.0.1", service.port, timeout=10)
        connection.request("POST", "/predict", body)
        answer = connection.getresponse()
        document = json.loads(answer.read())
        connection.close()
        if answer.status == 503:
            assert answer.getheader("Retry-After") == "1"
            assert document["type"] == "urn:sluice:problem:overloaded"
        return answer.status == 503

    service.wait_until(lambda: in_flight(service.port) == 3)
    assert refused()
    for each in slow:
        each.sendall(body[5:])
        assert each.recv(100).startswith(b"HTTP/1.1 200")
        each.close()
    service.wait_until(lambda: service.ask("POST", "/predict", {"features": SETOSA})[0] == 200)


def test_clients_that_do_not_send_their_request_whole_in_time_are_told_so_and_cut_off_and_others_are_not(
    harness: Any, run_service: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLUICE_SERVICE_MAX_CONCURRENCY", "3")
    monkeypatch.setenv("SLUICE_SERVICE_REQUEST_TIMEOUT_SECONDS", "2")
    harness.declare("iris")
    harness.champion("iris")
    service = run_service(workers=1)
    service.wait_until(lambda: service.ask("GET", "/ready")[0] == 200)
    body = json.dumps({"features": SETOSA}).encode()
    silent = [post_head(service.port, len(body), body[:5]) for _ in range(2)]
    trickling = post_head(service.port, 10_000, body[:5])
    service.wait_until(lambda: in_flight(service.port) == 3)

    def gone() -> bool:
        with suppress(OSError):  # it was cut
            trickling.sendall(b" ")
        return in_flight(service.port) == 0

    service.wait_until(gone, 60)
    assert service.ask("POST", "/predict", {"features": SETOSA})[0] == 200
    trickling.close()
    ids = set()
    for each in silent:
        answer, problem = late_answer(each)
        assert answer.getheader("Content-Type") == "application/problem+json"
        Draft202012Validator(PROBLEM).validate(problem)
        assert "not received and answered within 2 s" in problem["detail"]
        assert problem["request_id"] == answer.getheader("X-Request-ID")
        assert problem["instance"] == f"urn:sluice:request:{problem['request_id']}", "which was whose nobody knows"
        ids.add(problem["request_id"])
    assert len(ids) == 2
    service.wait_until(lambda: all(each in service.log.read_text() for each in ids))


def test_a_client_that_is_cut_off_alone_is_told_in_its_protocols_form_under_its_own_id_and_it_is_noted_as_408(
    harness: Any, run_service: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLUICE_SERVICE_REQUEST_TIMEOUT_SECONDS", "1")
    harness.declare("iris")
    harness.champion("iris")
    service = run_service(workers=1)
    service.wait_until(lambda: service.ask("GET", "/ready")[0] == 200)
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    answer, problem = late_answer(post_head(service.port, 99, b"{", X_Request_ID="shop-7", traceparent=trace))
    Draft202012Validator(PROBLEM).validate(problem)
    assert (problem["instance"], problem["request_id"]) == ("/predict", "shop-7")
    assert (answer.getheader("X-Request-ID"), answer.getheader("traceparent")) == ("shop-7", trace)
    answer, fault = late_answer(post_head(service.port, 99, b"{", "/v2/models/iris/infer", X_Request_ID="shop-8"))
    Draft202012Validator(OIP_ERROR).validate(fault)
    assert answer.getheader("Content-Type") == "application/json"
    assert answer.getheader("X-Request-ID") == "shop-8"

    def noted() -> dict[str, int]:
        lines = [json.loads(each) for each in service.log.read_text().splitlines() if each.startswith('{"time"')]
        return {line["request_id"]: line["status"] for line in lines if line["request_id"].startswith("shop")}

    service.wait_until(lambda: noted() == {"shop-7": 408, "shop-8": 408})


def test_looking_at_the_connections_leaves_no_descriptor_open() -> None:
    reaper = SlowRequestReaper(1, 1.0, ConcurrencyLimiter(1), ConcurrencyLimiter(1), partial(timeout_response, 1.0))
    descriptors = Path("/proc/self/fd")
    with socket.socket(), Path(os.devnull).open():
        before = len(list(descriptors.iterdir()))
        for _ in range(3):
            reaper.sweep()
        assert len(list(descriptors.iterdir())) == before


def test_looking_at_the_connections_keeps_the_locks_of_this_process(tmp_path: Path) -> None:
    """A worker holds its core and its heartbeat by locks; closing any descriptor of a file would release them."""
    other = "import fcntl, sys; fcntl.lockf(open(sys.argv[1], 'w'), fcntl.LOCK_EX | fcntl.LOCK_NB)"
    reaper = SlowRequestReaper(1, 1.0, ConcurrencyLimiter(1), ConcurrencyLimiter(1), partial(timeout_response, 1.0))
    with (tmp_path / "locked").open("w") as file:
        fcntl.lockf(file, fcntl.LOCK_EX)
        reaper.sweep()
        done = subprocess.run([sys.executable, "-c", other, file.name], capture_output=True, text=True, check=False)
    assert "BlockingIOError" in done.stderr, "the lock is still held"


def context_of(path: str, request_id: str) -> RequestContext:
    return RequestContext({"REQUEST_METHOD": "POST", "PATH_INFO": path, "HTTP_X_REQUEST_ID": request_id}, path)


@pytest.mark.parametrize(
    ("paths", "waiting", "media_type"),
    [
        ((), 1, "application/problem+json"),
        (("/v1/models/iris/scores/secret",), 2, "application/problem+json"),
        (("/v2/models/iris/infer", "/predict"), 2, "application/problem+json"),
        (("/v2/models/iris/infer", "/v2/models/trip/infer"), 2, "application/json"),
    ],
)
def test_whose_request_is_not_known_is_told_nothing_of_anybodys(
    paths: tuple[str, ...], waiting: int, media_type: str
) -> None:
    answer = timeout_response(2, [context_of(path, f"shop-{path}") for path in paths], waiting)
    assert (answer.status_code, answer.mimetype) == (408, media_type)
    assert not any(path in answer.get_data(as_text=True) for path in paths)
    assert re.fullmatch("[0-9a-f]{32}", answer.headers["X-Request-ID"])


# -- the end ---------------------------------------------------------------------------------------


def test_told_to_stop_under_load_it_finishes_what_runs_and_ends_within_its_grace(
    harness: Any, run_service: Callable[..., Any]
) -> None:
    harness.declare("iris")
    harness.champion("iris")
    service = run_service(workers=2)
    service.wait_until(lambda: service.ask("GET", "/ready")[0] == 200)
    body = json.dumps({"features": [SETOSA] * 2000}).encode()
    broken: list[str] = []
    whole: list[str] = []
    told = threading.Event()

    def ask_on_and_on() -> None:
        while True:
            connection = HTTPConnection("127.0.0.1", service.port, timeout=15)
            try:
                connection.connect()
            except OSError:
                return  # it listens no more
            try:
                connection.request("POST", "/predict", body)
                answer = connection.getresponse()
                rows = json.loads(answer.read())["predictions"]
                if answer.status != 200 or len(rows) != 2000:
                    broken.append(f"status {answer.status}")
                else:
                    whole.append(answer.getheader("X-Request-ID", ""))
            except ConnectionError as error:  # reset, or a broken pipe when the body was still being sent
                if told.is_set():
                    return
                broken.append(repr(error))
            except (OSError, HTTPException, ValueError, KeyError) as error:
                broken.append(repr(error))
                return
            finally:
                connection.close()

    clients = [threading.Thread(target=ask_on_and_on) for _ in range(8)]
    for client in clients:
        client.start()
    time.sleep(1)
    told.set()
    assert service.stop() == 0
    assert "Killing worker" not in service.log.read_text(), "what granian does when their grace is over"
    for client in clients:
        client.join()
    lines = [json.loads(each) for each in service.log.read_text().splitlines() if each.startswith('{"time"')]
    answered = {each["request_id"] for each in lines if each["route"] == "/predict"}
    # Whatever was taken up was answered whole. A connection that still waited in the listening socket when
    # that was shut is reset by the kernel; before the end was told, none may be.
    assert answered == set(whole)
    assert broken == []


def test_told_to_stop_it_waits_for_no_request_beyond_its_grace(harness: Any, run_service: Callable[..., Any]) -> None:
    harness.declare("iris")
    harness.champion("iris")
    service = run_service(SLUICE_SERVICE_SHUTDOWN_TIMEOUT_SECONDS="2")
    service.wait_until(lambda: service.ask("GET", "/ready")[0] == 200)
    with socket.create_connection(("127.0.0.1", service.port)) as silent:
        silent.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        time.sleep(0.5)  # until it is taken up
        service.stop()
        assert "Killing worker" in service.log.read_text(), "what granian does when their grace is over"
        assert not silent.recv(1000)
