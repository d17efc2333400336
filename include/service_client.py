"""A client of the online service's HTTP API."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any, Final, NamedTuple
from urllib.parse import SplitResult, urlsplit

from include import tokens
from include.errors import ServiceClientError
from include.settings import Settings

ROWS_A_REQUEST = 500
TOKEN_SECONDS = 120

NO_ANSWER: Final = (OSError, HTTPException)
"""What `ServiceClient.send` raises when the service does not answer, or not in HTTP."""


class ServiceResponse(NamedTuple):
    """The service's response to one request."""

    status: int
    media_type: str
    body: bytes

    @property
    def ok(self) -> bool:
        """Whether the status is 200 to 299."""
        return 200 <= self.status < 300

    @property
    def document(self) -> Any:
        """The body, parsed as JSON; None when it is not valid JSON."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None

    def text(self, max_bytes: int) -> str:
        """Return the status and the first `max_bytes` bytes of the body, for a message."""
        return f"{self.status} {self.body[:max_bytes].decode(errors='replace')}"


def exchange(
    method: str,
    origin: SplitResult,
    target: str,
    body: bytes | None,
    headers: Mapping[str, str],
    *,
    timeout: float,
    max_bytes: int | None = None,
) -> ServiceResponse:
    """Send one request on a connection of its own.

    Proxies that the environment names are ignored: they are for addresses outside the deployment.

    Parameters
    ----------
    method : str
    origin : SplitResult
        Its scheme, host and port are used.
    target : str
        The path, with the query.
    body : bytes or None
    headers : mapping of str to str
    timeout : float
        Maximum number of seconds to wait.
    max_bytes : int, optional
        Maximum size of the response's body that is read; by default, all is.

    Raises
    ------
    OSError, HTTPException
        When there is no response within the timeout. `NO_ANSWER` lists both types.
    """
    kind = HTTPSConnection if origin.scheme == "https" else HTTPConnection
    connection = kind(origin.hostname or "", origin.port, timeout=timeout)
    try:
        connection.request(method, target, body, dict(headers))
        answer = connection.getresponse()
        return ServiceResponse(answer.status, answer.headers.get_content_type(), answer.read(max_bytes))
    finally:
        connection.close()


@dataclass(frozen=True, slots=True)
class ServiceClient:
    """A client of the service at `address`. Each request uses a new connection.

    Parameters
    ----------
    address : str
        Such as ``http://127.0.0.1:8090``.
    token : str or None
        The bearer token that is sent; needed when the service checks tokens.
    timeout : float
        Maximum number of seconds to wait for a response.
    """

    address: str
    token: str | None = None
    timeout: float = 20.0

    @classmethod
    def of(cls, settings: Settings) -> ServiceClient:
        """Return a client of the configured service, with the configured token or one signed with the secret."""
        return cls(settings.service_url or f"http://127.0.0.1:{settings.service_port}", _token(settings))

    @property
    def headers(self) -> dict[str, str]:
        """The headers of every request."""
        shown = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        return shown | {"Content-Type": "application/json"}

    def send(
        self, method: str, path: str, body: bytes | None = None, more: Mapping[str, str] | None = None
    ) -> ServiceResponse:
        """Send one request; headers in `more` are added to `headers`, or replace them.

        Raises
        ------
        OSError, HTTPException
            When there is no response within the timeout. `NO_ANSWER` lists both types.
        """
        parts = urlsplit(self.address)
        headers = {**self.headers, **(more or {})}
        return exchange(method, parts, parts.path.rstrip("/") + path, body, headers, timeout=self.timeout)

    def predict(
        self, model: str, version: int, rows: Sequence[Sequence[Any]], classes: Sequence[str]
    ) -> list[tuple[float, ...]]:
        """Return the prediction of each row: the probabilities in the order of the classes, or the value.

        Parameters
        ----------
        rows : sequence of sequence
            The values of the features in the order of the version's signature, as JSON types.
        classes : sequence of str
            The order of the probabilities; empty for a regression.

        Raises
        ------
        ServiceClientError
            When there is no response, or not a prediction of that version for every row.
        """
        answers: list[tuple[float, ...]] = []
        for first in range(0, len(rows), ROWS_A_REQUEST):
            some = [list(row) for row in rows[first : first + ROWS_A_REQUEST]]
            answers += [scores_of(each, classes) for each in self._predictions(model, version, some)]
        return answers

    def _predictions(self, model: str, version: int, rows: list[list[Any]]) -> list[dict[str, Any]]:
        path = f"/v1/models/{model}/versions/{version}/predict"
        try:
            answer = self.send("POST", path, request_body(rows))
        except NO_ANSWER as error:
            raise ServiceClientError(self.address, f"predictions from {path}", type(error).__name__) from error
        if not answer.ok:
            raise ServiceClientError(self.address, f"predictions from {path}", answer.text(300))
        document = answer.document or {}
        predictions: list[dict[str, Any]] = document.get("predictions", [])
        if document.get("version") != version or len(predictions) != len(rows):
            found = f"{len(predictions)} of version {document.get('version')}"
            raise ServiceClientError(self.address, f"{len(rows)} predictions from {path}", found)
        return predictions


def request_body(features: Any) -> bytes:
    """Return the JSON body of a prediction request for `features`: a row, or a list of rows."""
    return json.dumps({"features": features}).encode()


def scores_of(prediction: Mapping[str, Any], classes: Sequence[str] | None = None) -> tuple[float, ...]:
    """Return the numbers of one prediction in a response: the value of a regression, or the classes' probabilities.

    Parameters
    ----------
    classes : sequence of str, optional
        The order of the classes; empty for a regression. Default: the order in the prediction.

    Raises
    ------
    KeyError, TypeError, ValueError
        When `prediction` has another structure.
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
