"""The running service, asked over HTTP as any client asks it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from include import tokens
from include.errors import ServiceClientError
from include.settings import Settings
from include.spec import ModelSpec

ROWS_A_REQUEST = 500
TOKEN_SECONDS = 120

NO_ANSWER: Final = (OSError, HTTPException)
"""What `ServiceClient.send` raises when the service does not answer, or not in HTTP."""


class ServiceResponse(NamedTuple):
    """What the service answered."""

    status: int
    media_type: str
    body: bytes

    @property
    def ok(self) -> bool:
        """Whether the status is one of success."""
        return 200 <= self.status < 300

    @property
    def document(self) -> Any:
        """The body as JSON; None when it is none."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None

    def text(self, most: int) -> str:
        """Return the status and the first `most` bytes of the body, for a message."""
        return f"{self.status} {self.body[:most].decode(errors='replace')}"


@dataclass(frozen=True, slots=True)
class ServiceClient:
    """The service at an address. Each request has a connection of its own.

    Parameters
    ----------
    address : str
        Such as ``http://127.0.0.1:8090``.
    token : str or None
        What it asks for when authentication is on.
    timeout : float
        How many seconds it may take to answer.
    """

    address: str
    token: str | None = None
    timeout: float = 20.0

    @classmethod
    def of(cls, settings: Settings) -> ServiceClient:
        """Return the service that the settings name, with a token of our own when we hold its secret."""
        return cls(settings.service_url or f"http://127.0.0.1:{settings.service_port}", _token(settings))

    @property
    def headers(self) -> dict[str, str]:
        """The headers that every request has."""
        shown = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        return shown | {"Content-Type": "application/json"}

    def send(
        self, method: str, path: str, body: bytes | None = None, more: Mapping[str, str] | None = None
    ) -> ServiceResponse:
        """Send one request, with headers beside (or in place of) those that every request has.

        No proxy of the environment is used: those are for the outside world.

        Raises
        ------
        OSError, HTTPException
            When there is no answer, or none in time: `NO_ANSWER`.
        """
        parts = urlsplit(self.address)
        kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
        connection = kind(str(parts.hostname), parts.port, timeout=self.timeout)
        try:
            connection.request(method, parts.path.rstrip("/") + path, body, {**self.headers, **(more or {})})
            answer = connection.getresponse()
            return ServiceResponse(answer.status, answer.headers.get_content_type(), answer.read())
        finally:
            connection.close()

    def predict(self, spec: ModelSpec, version: int, rows: Sequence[Sequence[Any]]) -> list[tuple[float, ...]]:
        """Return the service's answers: of each row the probabilities in the order of the classes, or the value.

        Parameters
        ----------
        rows : sequence of sequence
            The values of the features in declared order, as JSON knows them.

        Raises
        ------
        ServiceClientError
            When it does not answer, or not with a prediction of that version for every row.
        """
        answers: list[tuple[float, ...]] = []
        for first in range(0, len(rows), ROWS_A_REQUEST):
            some = [list(row) for row in rows[first : first + ROWS_A_REQUEST]]
            answers += [scores_of(each, spec.target.classes) for each in self._predictions(spec, version, some)]
        return answers

    def _predictions(self, spec: ModelSpec, version: int, rows: list[list[Any]]) -> list[dict[str, Any]]:
        path = f"/v1/models/{spec.name}/versions/{version}/predict"
        try:
            answer = self.send("POST", path, request_body(rows))
        except NO_ANSWER as error:
            raise ServiceClientError(self.address, f"predictions from {path}", type(error).__name__) from error
        if not answer.ok:
            raise ServiceClientError(self.address, f"predictions from {path}", answer.text(300))
        told = answer.document or {}
        predictions: list[dict[str, Any]] = told.get("predictions", [])
        if told.get("version") != version or len(predictions) != len(rows):
            found = f"{len(predictions)} of version {told.get('version')}"
            raise ServiceClientError(self.address, f"{len(rows)} predictions from {path}", found)
        return predictions


def request_body(features: Any) -> bytes:
    """Return the JSON body that asks for the prediction of `features`: a row, or a list of rows."""
    return json.dumps({"features": features}).encode()


def scores_of(prediction: Mapping[str, Any], classes: Sequence[str] | None = None) -> tuple[float, ...]:
    """Return the numbers of one prediction of the service's: a regression's value, or the classes' probabilities.

    Parameters
    ----------
    classes : sequence of str, optional
        Their order, none for a regression; by default it is the prediction's own.

    Raises
    ------
    KeyError, TypeError, ValueError
        When it is no such prediction.
    """
    if classes is None:
        classes = tuple(prediction.get("probabilities", ()))
    if not classes:
        return (float(prediction["value"]),)
    return tuple(float(prediction["probabilities"][label]) for label in classes)


def _token(settings: Settings) -> str | None:
    if settings.service_token is not None:
        return settings.service_token.get_secret_value()
    if settings.auth_secret is None:
        return None
    secret = settings.auth_secret.get_secret_value()
    return tokens.mint(settings, secret, "parity watch", ("predict",), TOKEN_SECONDS)
