"""The fuzzer that needs no other package: it keeps the inputs that get a response of a new kind."""

from __future__ import annotations

import random
import re
import time
from collections import Counter
from collections.abc import Iterator, Sequence

from tests.fuzz.mutation import mutate
from tests.fuzz.targets import Found, Response, Service, Target

MAX_KEPT = 2_000


class Fuzzer:
    """Fuzzes one target.

    Attributes
    ----------
    executions : int
    statuses : Counter of int
    """

    def __init__(self, service: Service, target: Target, seed: int) -> None:
        self._service, self._target = service, target
        self._draw = random.Random(f"{seed} {target.name}")  # noqa: S311  # to be repeated
        self._pool: list[bytes] = list(target.seeds)
        self._kinds: set[str] = set()
        self.executions = 0
        self.statuses: Counter[int] = Counter()

    def run(self, executions: int | None = None, seconds: float | None = None) -> Iterator[tuple[bytes, Exception]]:
        """Send so many requests, or for so long; yield each input that breaks a promise, with the error."""
        end = None if seconds is None else time.monotonic() + seconds
        last = None if executions is None else self.executions + executions
        seeds = [] if self.executions else list(self._target.seeds)
        while (last is None or self.executions < last) and (end is None or time.monotonic() < end):
            data = seeds.pop() if seeds else mutate(self._draw.choice(self._pool), self._pool, self._draw)
            self.executions += 1
            try:
                response = self._service.ask(self._target, data)
            except Exception as error:  # noqa: BLE001  # every one is a finding
                yield data, error
                continue
            self.statuses[response.status] += 1
            self._keep(data, response)

    def _keep(self, data: bytes, response: Response) -> None:
        kind = f"{response.status} {_kind_of(response.body)}"
        if kind in self._kinds:
            return
        self._kinds.add(kind)
        if len(self._pool) < MAX_KEPT:
            self._pool.append(data)
        else:
            self._pool[self._draw.randrange(MAX_KEPT)] = data


def _kind_of(body: bytes) -> str:
    """Return the words of a response without its values, and how many errors there are."""
    words = re.sub(rb'"request_id":"[^"]*"|"instance":"[^"]*"|"timestamp":"[^"]*"|[0-9.eE+-]+', b"", body)
    return re.sub(rb"'[^']*'", b"''", words[:400]).decode("latin-1")


def reproduce(findings: Sequence[tuple[str, bytes, Exception]]) -> str:
    """Return the findings as text with which each can be repeated."""
    return "\n".join(
        f"{name}: {data!r}\n  {'' if isinstance(error, Found) else type(error).__name__ + ': '}{error}"
        for name, data, error in findings
    )
