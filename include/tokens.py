"""Bearer tokens of the service: what they claim, and how one is made. ``model_service.auth`` verifies them.

Sources: RFC 7519 (JWT), RFC 7518 section 3.2 (the length of an HS256 key), RFC 8693 section 4.2 (``scope``).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Final, Literal, get_args

from include.settings import Settings

Scope = Literal["predict", "scores", "models", "metrics"]
"""What a token may be good for."""

SCOPES: Final[tuple[Scope, ...]] = get_args(Scope)
REQUIRED_CLAIMS: Final = ("exp", "iss", "aud", "sub")
MIN_SECRET_BYTES: Final = 32
ALGORITHM: Final = "HS256"


def mint(
    settings: Settings,
    secret: str,
    subject: str,
    scopes: Sequence[str],
    seconds: int,
    models: Sequence[str] | None = None,
) -> str:
    """Return a token, as the service's issuer would make it.

    Parameters
    ----------
    settings : Settings
        Name the issuer and the audience.
    secret : str
        What it is signed with.
    subject : str
        Who bears it.
    scopes : sequence of str
        What it is good for.
    seconds : int
        How long.
    models : sequence of str, optional
        For which models alone; None: for all.
    """
    import jwt  # only those who make tokens pay for it

    now = int(time.time())
    claims: dict[str, Any] = {
        "iss": settings.auth_issuer,
        "aud": settings.auth_audience,
        "sub": subject,
        "iat": now,
        "exp": now + seconds,
        "scope": " ".join(scopes),
    }
    if models is not None:
        claims["models"] = list(models)
    return jwt.encode(claims, secret, ALGORITHM)
