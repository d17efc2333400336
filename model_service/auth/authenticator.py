"""Whoever comes must show a token that is good for what they ask; with no keys configured, nobody must."""

from __future__ import annotations

import ipaddress
import logging
from typing import Final

from include.errors import SettingsError
from include.settings import Settings
from model_service.auth.keys import PublicKey, RotatingKeys, SharedSecret
from model_service.auth.token_cache import TokenCache
from model_service.auth.tokens import KeySource, TokenVerifier
from model_service.http.principal import Principal
from model_service.http.refusals import AuthenticationRequiredError, InvalidTokenError, PermissionDeniedError

log = logging.getLogger(__name__)

PREFIX: Final = "Bearer "


class BearerAuthenticator:
    """Lets callers in by their tokens.

    Parameters
    ----------
    verifier : TokenVerifier
    """

    def __init__(self, verifier: TokenVerifier) -> None:
        self._tokens = TokenCache(verifier.verify)

    def authenticate(self, authorization: str | None, scope: str, model: str | None) -> Principal:
        """Return who asks.

        Parameters
        ----------
        authorization : str or None
            The request's ``Authorization`` header.
        scope : str
            What is asked for.
        model : str or None
            The model that is asked, if any.

        Raises
        ------
        AuthenticationRequiredError
            If there is none.
        InvalidTokenError
            If it is not right, or not any more.
        PermissionDeniedError
            If it is right, and not good for `scope` or `model`.
        JWKSUnavailableError
            If the issuer's keys cannot be had now.
        """
        if authorization is None:
            raise AuthenticationRequiredError
        if authorization[:7] != PREFIX:
            if authorization[:7].lower() != PREFIX.lower():  # the scheme's name is case-insensitive (RFC 9110, 11.1)
                raise AuthenticationRequiredError
            authorization = PREFIX + authorization[7:]
        token = authorization[7:].strip()
        if not token:
            raise InvalidTokenError("there is no token after Bearer")
        principal = self._tokens.principal_of(token)
        if scope not in principal.scopes:
            raise PermissionDeniedError(scope, f"it needs the scope '{scope}'")
        if model is not None and not principal.can_access(model):
            raise PermissionDeniedError(scope, "its claim 'models' does not name this model")
        return principal


def build_authenticator(settings: Settings) -> BearerAuthenticator | None:
    """Return what `settings` ask for; None: nobody needs a token.

    Raises
    ------
    SettingsError
        If they ask for what is not safe, or for two things at once.
    """
    secret = settings.auth_secret
    given = {
        "SLUICE_AUTH_SECRET": secret,
        "SLUICE_AUTH_PUBLIC_KEY": settings.auth_public_key,
        "SLUICE_AUTH_JWKS_URL": settings.auth_jwks_url,
    }
    named = [name for name, value in given.items() if value is not None]
    if len(named) > 1:
        raise SettingsError(f"expected one of {', '.join(given)}; found {' and '.join(named)}. Unset all but one.")
    keys: KeySource
    if secret is not None:
        keys = SharedSecret(secret.get_secret_value())
    elif settings.auth_public_key is not None:
        keys = PublicKey(settings.auth_public_key)
    elif settings.auth_jwks_url is not None:
        keys = RotatingKeys(settings.auth_jwks_url, settings.auth_jwks_cooldown_seconds)
    else:
        return None
    return BearerAuthenticator(
        TokenVerifier(keys, settings.auth_issuer, settings.auth_audience, settings.auth_leeway_seconds)
    )


def check_exposure(settings: Settings) -> None:
    """Refuse to listen where others can reach us while nobody needs a token; on loopback, say so.

    Raises
    ------
    SettingsError
        As `build_authenticator`, and if there is no authentication on an address that is not loopback.
    """
    if build_authenticator(settings) is not None:
        return
    if not is_loopback(settings.service_host):
        raise SettingsError(
            f"SLUICE_SERVICE_HOST: expected a loopback address, since no authentication is configured; found "
            f"{settings.service_host}. Set SLUICE_AUTH_SECRET, SLUICE_AUTH_PUBLIC_KEY or SLUICE_AUTH_JWKS_URL, "
            "or listen on 127.0.0.1."
        )
    log.warning(
        "no authentication is configured: whoever reaches %s port %s may ask everything. Set SLUICE_AUTH_SECRET, "
        "SLUICE_AUTH_PUBLIC_KEY or SLUICE_AUTH_JWKS_URL to ask for tokens",
        settings.service_host,
        settings.service_port,
    )


def is_loopback(host: str) -> bool:
    """Tell whether only this machine reaches `host`. A name other than localhost is not trusted to be."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
