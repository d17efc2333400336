"""The running online service, asked over HTTP as any client asks it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from include.errors import ServiceClientError
from include.settings import Settings
from include.spec import ModelSpec

SECONDS_TO_ANSWER = 20.0
ROWS_A_REQUEST = 500
TOKEN_SECONDS = 120


@dataclass(frozen=True, slots=True)
class ServiceClient:
    """The service at an address.

    Parameters
    ----------
    address : str
        Such as ``http://127.0.0.1:8090``.
    token : str or None
        What it asks for when authentication is on.
    """

    address: str
    token: str | None = None

    @classmethod
    def of(cls, settings: Settings) -> ServiceClient:
        """Return the service that the settings name, with a token of our own when we hold its secret."""
        return cls(settings.service_url or f"http://127.0.0.1:{settings.service_port}", _token(settings))

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
            answers += [_numbers(spec, each) for each in self._ask(spec, version, some)]
        return answers

    def _ask(self, spec: ModelSpec, version: int, rows: list[list[Any]]) -> list[dict[str, Any]]:
        path = f"/v1/models/{spec.name}/versions/{version}/predict"
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        try:
            # trust_env: a proxy of the environment is for the outside world.
            answer = httpx.post(
                self.address + path,
                json={"features": rows},
                headers=headers,
                timeout=SECONDS_TO_ANSWER,
                trust_env=False,
            )
        except httpx.HTTPError as error:
            raise ServiceClientError(self.address, f"predictions from {path}", type(error).__name__) from error
        if answer.is_error:
            found = f"{answer.status_code} {answer.text[:300]}"
            raise ServiceClientError(self.address, f"predictions from {path}", found)
        body = answer.json()
        predictions: list[dict[str, Any]] = body.get("predictions", [])
        if body.get("version") != version or len(predictions) != len(rows):
            found = f"{len(predictions)} of version {body.get('version')}"
            raise ServiceClientError(self.address, f"{len(rows)} predictions from {path}", found)
        return predictions


def _numbers(spec: ModelSpec, prediction: dict[str, Any]) -> tuple[float, ...]:
    if not spec.target.classes:
        return (float(prediction["value"]),)
    return tuple(float(prediction["probabilities"][label]) for label in spec.target.classes)


def _token(settings: Settings) -> str | None:
    if settings.service_token is not None:
        return settings.service_token.get_secret_value()
    if settings.auth_secret is None:
        return None
    import jwt  # only needed where we hold the secret

    now = int(time.time())
    claims = {
        "iss": settings.auth_issuer,
        "aud": settings.auth_audience,
        "sub": "parity watch",
        "iat": now,
        "exp": now + TOKEN_SECONDS,
        "scope": "predict",
    }
    return jwt.encode(claims, settings.auth_secret.get_secret_value(), "HS256")
