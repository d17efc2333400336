"""The page of a month does what it says, and clients that ask all the time are always answered."""

from __future__ import annotations

import http.client
import json
import shlex
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.repo.page import REPOSITORY, Reader

PAUSE_SECONDS = 0.02


class Client:
    """Repeats the request of the latest ``curl`` of the page until the page has another one."""

    def __init__(self) -> None:
        self.versions: list[int] = []  # of each answer
        self.failed: list[str] = []
        self._request: tuple[str, bytes] | None = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._ask)
        self._thread.start()

    def repeat(self, curl: str) -> None:
        words = shlex.split(curl)
        self._request = words[2], words[words.index("-d") + 1].encode()

    def end(self) -> None:
        self._ended.set()
        self._thread.join()

    def _ask(self) -> None:
        while not self._ended.wait(PAUSE_SECONDS):
            if self._request is not None:
                self._ask_once(*self._request)

    def _ask_once(self, url: str, body: bytes) -> None:
        address = urlsplit(url)
        connection = http.client.HTTPConnection(address.netloc, timeout=10)
        try:
            connection.request("POST", address.path, body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            text = response.read()
            if response.status == 200:
                self.versions.append(json.loads(text)["version"])
            else:
                self.failed.append(f"{response.status} {text.decode()}")
        except OSError as error:
            self.failed.append(repr(error))
        finally:
            connection.close()


@pytest.fixture
def client() -> Iterator[Client]:
    client = Client()
    yield client
    client.end()


@pytest.mark.slow  # some twenty commands, seven trainings, on one service
def test_production_never_stops_in_a_month_of_changes(database_url: str, tmp_path: Path, client: Client) -> None:
    reader = Reader(tmp_path, database_url, asked=client.repeat, before_stop=client.end)
    reader.follow(REPOSITORY / "docs" / "a-month.md")

    # A day without rows, grams, the plan that breaks readers, two candidates rejected, a promotion without --force.
    assert reader.failures == [1, 1, 5, 3, 3, 1]
    assert client.failed == []
    swaps = [
        version for version, before in zip(client.versions, [0, *client.versions], strict=False) if version != before
    ]
    assert swaps == [1, 2, 3, 4, 5, 6, 5, 4]
    print(f"{len(client.versions)} requests answered, none failed; versions {swaps}")
