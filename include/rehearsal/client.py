"""A small client of the service under rehearsal: one question, or many over kept connections."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException
from typing import Any, Final, NamedTuple

HOST: Final = "127.0.0.1"
PATIENCE_SECONDS: Final = 30.0

NO_ANSWER: Final = (OSError, HTTPException)
"""What is raised when the service does not answer, or not in HTTP."""


class Answer(NamedTuple):
    """What the service said."""

    status: int
    media_type: str
    body: bytes

    @property
    def document(self) -> Any:
        """The body as JSON; None when it is none."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None


class Client:
    """Asks the service on `port` of loopback, each time over a connection of its own.

    Parameters
    ----------
    port : int
    token : str
        Shown with every question.
    """

    def __init__(self, port: int, token: str) -> None:
        self._port = port
        self.headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}

    def ask(self, method: str, path: str, body: bytes | None = None, more: Mapping[str, str] | None = None) -> Answer:
        """Ask once, with headers beside (or in place of) those that every question has.

        Raises
        ------
        OSError, HTTPException
            When there is no answer, or none within 30 s.
        """
        connection = HTTPConnection(HOST, self._port, timeout=PATIENCE_SECONDS)
        try:
            connection.request(method, path, body, {**self.headers, **(more or {})})
            answer = connection.getresponse()
            media_type = answer.headers.get_content_type()
            return Answer(answer.status, media_type, answer.read())
        finally:
            connection.close()


def body_of(features: Any) -> bytes:
    """Return the JSON body that asks for `features`: a row, or a list of rows."""
    return json.dumps({"features": features}).encode()
