"""Bearer tokens of the service: their claims, and how they are issued. ``model_service.auth`` verifies them.

Sources: RFC 7519 (JWT), RFC 7518 section 3.2 (the length of an HS256 key), RFC 8693 section 4.2 (``scope``).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Final, Literal, get_args

from include.settings import Settings

Scope = Literal["predict", "scores", "models", "metrics"]
"""A scope that a token may grant."""

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
    """Return a signed token with the claims that the service's issuer would set.

    Parameters
    ----------
    settings : Settings
        They contain the issuer and the audience.
    secret : str
        The key that signs it.
    subject : str
        Who uses it.
    scopes : sequence of str
        The scopes that it grants.
    seconds : int
        Lifetime in seconds.
    models : sequence of str, optional
        The models that it gives access to; None: all models.
    """
    import jwt  # imported here: most processes never issue a token

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
