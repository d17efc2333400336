"""All attacks at once, each at a steady pace, until the deadline.

    python -m tests.model_service.soak.attacks PORT TOKEN SECONDS

TOKEN is of a caller that may do everything, and not of the good clients. One line of JSON at the end: by attack, how
often each outcome was seen: a status, or that the connection ended.
"""

from __future__ import annotations

import base64
import json
import os
import random
import socket
import struct
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from http.client import HTTPConnection, HTTPException
from typing import Final

from benchmarks.request_cost import KINDS
from tests.model_service.soak.mutations import bodies, mutated

SETTLE_SECONDS: Final = 3.0  # how long an attack that waits lets its connection stand
PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"  # and empty SETTINGS
HEADERS: Final = b"\x00\x00\x05\x01\x04\x00\x00\x00\x01\x83\x86\x84\x41\x00"  # a POST without an end


class Attacker:
    """The attacks; each method is one attempt and returns its outcome."""

    def __init__(self, port: int, token: str) -> None:
        self._port, self._token = port, token
        self._chance = random.Random(port)  # noqa: S311  # mutations, not secrets
        self._kind = 0
        self._jobs: list[str] = []
        self._valid = bodies()

    # -- connections ---------------------------------------------------------------------------------

    def silent_connections(self) -> str:
        """Many connections that send nothing."""
        opened = [self._connect() for _ in range(20)]
        time.sleep(SETTLE_SECONDS)
        for each in opened:
            each.close()
        return "closed by the attacker"

    def half_a_header(self) -> str:
        return self._raw(b"POST /predict HTTP/1.1\r\nHost: x\r\nX-", wait=True)

    def half_a_body_then_reset(self) -> str:
        return self._raw(self._head(length=100_000) + b'{"features":', reset=True)

    def half_a_body_then_end(self) -> str:
        return self._raw(self._head(length=100) + b'{"features":[1]}', shut=True)

    def a_chunked_body_without_end(self) -> str:
        return self._raw(self._head("Transfer-Encoding: chunked") + b'10\r\n{"features":[1]}\r\n', shut=True)

    def a_body_a_byte_at_a_time(self) -> str:
        with self._connect() as connection:
            connection.sendall(self._head(length=1_000))
            until = time.monotonic() + SETTLE_SECONDS
            while time.monotonic() < until:
                connection.sendall(b" ")
                time.sleep(0.2)
        return "closed by the attacker"

    def http_2_without_end(self) -> str:
        return self._raw(PREFACE + HEADERS, wait=True)

    def random_bytes(self) -> str:
        return self._raw(self._chance.randbytes(2_000) + b"\r\n\r\n", shut=True)

    def a_long_line(self) -> str:
        return self._raw(b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", shut=True)

    def many_headers(self) -> str:
        return self._raw(b"GET / HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 5_000 + b"\r\n", shut=True)

    # -- without a token that is good -------------------------------------------------------------------

    def a_large_body_without_token(self) -> str:
        return self._send("POST", "/predict", b" " * 2**20, {})

    def a_token_of_an_unknown_key(self) -> str:
        head = {"alg": "RS256", "typ": "JWT", "kid": f"k{self._chance.getrandbits(64)}"}
        token = f"{_base64(head)}.{_base64({'sub': 'x', 'exp': 10**400})}.{'A' * 342}"
        return self._send("POST", "/predict", b"{}", {"Authorization": f"Bearer {token}"})

    # -- with a token -----------------------------------------------------------------------------------

    def the_largest_request_of_each_kind(self) -> str:
        """One kind after the other, as large as its limit allows."""
        self._kind += 1
        kind = KINDS[self._kind % len(KINDS)]
        request = kind.make(int(kind.limit * 0.98))
        path = request.path + ("?" + request.query if request.query else "")
        headers = {name.replace("_", "-"): value for name, value in request.headers.items()}
        return self._send(request.method, path, request.body, {**self._bearer(), **headers})

    def a_mutated_request(self) -> str:
        path, body, headers = mutated(self._chance, self._valid)
        return self._send("POST", path, body, {**self._bearer(), **headers})

    def jobs(self) -> str:
        rows = b",".join([b'{"distance":10.5,"carrier":"BB","weekend":true}'] * 5_000)
        return self._send("POST", "/v1/models/trip/predict_async", b'{"features":[' + rows + b"]}", self._bearer())

    def results_of_jobs(self) -> str:
        if not self._jobs:
            return "no job yet"
        return self._send("GET", f"/v1/jobs/{self._chance.choice(self._jobs)}/predictions", None, self._bearer())

    # -- how they are sent ------------------------------------------------------------------------------

    def _bearer(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._token}"}

    def _head(self, framing: str = "", length: int = 0) -> bytes:
        framing = framing or f"Content-Length: {length}"
        return f"POST /predict HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {self._token}\r\n{framing}\r\n\r\n".encode()

    def _connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self._port), timeout=60)

    def _raw(self, sent: bytes, *, shut: bool = False, wait: bool = False, reset: bool = False) -> str:
        """Send bytes, and end the connection; return the status line's number, if there is a response."""
        with self._connect() as connection:
            connection.sendall(sent)
            if reset:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                return "reset by the attacker"
            if shut:
                connection.shutdown(socket.SHUT_WR)
            if wait:
                connection.settimeout(SETTLE_SECONDS)
            try:
                received = connection.recv(4_096)
            except TimeoutError:
                return "closed by the attacker"
        return received.split(b" ", 2)[1].decode() if received.startswith(b"HTTP/1.1 ") else "ended"

    def _send(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> str:
        connection = HTTPConnection("127.0.0.1", self._port, timeout=60)
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            answer = response.read()
        finally:
            connection.close()
        if response.status == 202:
            self._jobs = [*self._jobs[-20:], json.loads(answer)["id"]]
        return str(response.status)


PACES: Final[dict[Callable[[Attacker], str], float]] = {  # attempts a second
    Attacker.silent_connections: 0.3,
    Attacker.half_a_header: 0.3,
    Attacker.half_a_body_then_reset: 3,
    Attacker.half_a_body_then_end: 3,
    Attacker.a_chunked_body_without_end: 3,
    Attacker.a_body_a_byte_at_a_time: 0.3,
    Attacker.http_2_without_end: 3,
    Attacker.random_bytes: 3,
    Attacker.a_long_line: 1,
    Attacker.many_headers: 1,
    Attacker.a_large_body_without_token: 2,
    Attacker.a_token_of_an_unknown_key: 5,
    Attacker.the_largest_request_of_each_kind: 4,
    Attacker.a_mutated_request: 10,
    Attacker.jobs: 0.2,
    Attacker.results_of_jobs: 1,
}


def _base64(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def repeat(attack: Callable[[Attacker], str], attacker: Attacker, until: float, outcomes: Counter[str]) -> None:
    """Make one attempt after the other, at the attack's pace or slower."""
    while (now := time.monotonic()) < until:
        try:
            outcomes[attack(attacker)] += 1
        except (OSError, HTTPException) as error:
            outcomes[type(error).__name__] += 1
        time.sleep(max(0.0, now + 1 / PACES[attack] - time.monotonic()))


def main(port: int, token: str, seconds: float) -> None:
    os.nice(10)  # attackers have machines of their own: what their processor does is not the service's load
    until = time.monotonic() + seconds
    seen: dict[str, Counter[str]] = {attack.__name__: Counter() for attack in PACES}
    attacker = Attacker(port, token)
    threads = [
        threading.Thread(target=repeat, args=(attack, attacker, until, seen[attack.__name__]), daemon=True)
        for attack in PACES
    ]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    print(json.dumps(seen))


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], float(sys.argv[3]))
