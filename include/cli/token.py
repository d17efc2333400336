"""``sluice token``: issue a token to try the service, signed with the service's secret."""

from __future__ import annotations

import sys
from argparse import Namespace
from typing import Final

from include import tokens
from include.errors import SettingsError, SluiceError
from include.settings import Settings

MAX_MINUTES: Final = 24 * 60


def mint(arguments: Namespace, settings: Settings) -> int:
    """Write a token to standard output.

    Raises
    ------
    SettingsError
        When there is no secret to sign with. With a public key or a JWK Set, only the issuer can sign.
    SluiceError
        When a scope is unknown, or the lifetime is too long.
    """
    secret = settings.auth_secret
    if secret is None or len(secret.get_secret_value().encode()) < tokens.MIN_SECRET_BYTES:
        raise SettingsError(
            f"SLUICE_AUTH_SECRET: expected the service's secret of at least {tokens.MIN_SECRET_BYTES} bytes; found "
            f"{'none' if secret is None else 'a shorter one'}. Make one with `openssl rand -hex 32` and start the "
            "service with it; if the service verifies with a public key, request a token from its issuer."
        )
    unknown = [each for each in arguments.scope.split() if each not in tokens.SCOPES]
    if unknown or not arguments.scope.split():
        raise SluiceError(
            f"--scope: expected some of {', '.join(tokens.SCOPES)}; found '{arguments.scope}'. Correct it."
        )
    if not 1 <= arguments.minutes <= MAX_MINUTES:
        raise SluiceError(
            f"--minutes: expected 1 to {MAX_MINUTES}; found {arguments.minutes}. Choose a shorter lifetime."
        )
    token = tokens.mint(
        settings,
        secret.get_secret_value(),
        arguments.subject,
        arguments.scope.split(),
        arguments.minutes * 60,
        arguments.model or None,
    )
    sys.stdout.write(f"{token}\n")
    return 0
