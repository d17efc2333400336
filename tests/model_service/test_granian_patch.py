"""How granian hands requests over: nothing of the process's environment goes with them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from granian.server import mp

from model_service.server.granian_patch import wsgi_wrapper

SCOPE = {"REQUEST_METHOD": "POST", "PATH_INFO": "/predict", "HTTP_HOST": "here"}


class Taker:
    """Takes an answer as granian's own object does."""

    def response_bytes(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.answer = (status, headers, body)

    def response_iter(self, status: int, headers: list[tuple[str, str]], body: Any) -> None:
        self.answer = (status, headers, b"".join(iter(body.__next__, None)))
        body.close()


class Closing:
    """An iterable that WSGI must close."""

    def __init__(self) -> None:
        self.left, self.closed = [b"a", b"b"], False

    def __iter__(self) -> Any:
        return self

    def __next__(self) -> Any:
        return self.left.pop(0) if self.left else None

    def close(self) -> None:
        self.closed = True


def answered(body: Iterable[bytes], seen: dict[str, Any] | None = None) -> Any:
    def application(environ: dict[str, Any], start: Any) -> Iterable[bytes]:
        (seen if seen is not None else {}).update(environ)
        start("201 Created", [("X-A", "b")])
        return body

    taker = Taker()
    assert wsgi_wrapper(application, {})(taker, dict(SCOPE)) == 201
    return taker.answer


def test_the_environment_has_what_wsgi_asks_for_and_nothing_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLUICE_AUTH_SECRET", "s" * 32)
    seen: dict[str, Any] = {}
    answered([b""], seen)
    assert seen.keys() >= SCOPE.keys() | {"SCRIPT_NAME", "wsgi.version", "wsgi.errors", "wsgi.multithread"}
    assert all(name in SCOPE or name.startswith("wsgi.") or name in WSGI for name in seen)


WSGI = {"GATEWAY_INTERFACE", "SCRIPT_NAME", "SERVER_SOFTWARE"}


@pytest.mark.parametrize(("chunks", "whole"), [([b"one"], b"one"), ([b"one", b"two"], b"onetwo"), ([], b"")])
def test_a_list_is_answered_at_once(chunks: list[bytes], whole: bytes) -> None:
    assert answered(chunks) == (201, [("X-A", "b")], whole)


def test_anything_else_is_answered_piece_by_piece_and_closed() -> None:
    body = Closing()
    assert answered(body)[2] == b"ab"
    assert body.closed


def test_the_pinned_granian_has_the_place_for_it() -> None:
    assert callable(mp._wsgi_call_wrap), "granian changed: look at model_service/server/granian_patch.py"
