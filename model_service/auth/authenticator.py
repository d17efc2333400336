"""Authenticates requests by bearer tokens; without a configured key there is no authentication."""

from __future__ import annotations

import ipaddress
import logging
from typing import Final

from include.errors import SettingsError
from include.settings import Settings
from model_service.auth.invalid_tokens import InvalidTokenLimiter
from model_service.auth.keys import PublicKey, RotatingKeys, SharedSecret
from model_service.auth.token_cache import TokenCache
from model_service.auth.tokens import KeySource, TokenVerifier
from model_service.http.errors import AuthenticationRequiredError, InvalidTokenError, PermissionDeniedError
from model_service.http.principal import Principal

log = logging.getLogger(__name__)

PREFIX: Final = "Bearer "


class BearerAuthenticator:
    """Authenticates callers by their tokens.

    Parameters
    ----------
    verifier : TokenVerifier
    invalid_tokens : InvalidTokenLimiter
    """

    def __init__(self, verifier: TokenVerifier, invalid_tokens: InvalidTokenLimiter) -> None:
        self._invalid_tokens = invalid_tokens
        self._tokens = TokenCache(verifier.verify)
        self.start = verifier.start

    def authenticate(self, authorization: str | None, scope: str, model: str | None, address: str = "") -> Principal:
        """Return the caller.

        Parameters
        ----------
        authorization : str or None
            The request's ``Authorization`` header.
        scope : str
            The scope that the route requires.
        model : str or None
            The requested model, if any.
        address : str
            The address of the caller; "": not known.

        Raises
        ------
        AuthenticationRequiredError
            If there is no token.
        InvalidTokenError
            If the token is malformed, expired or not valid for this service.
        PermissionDeniedError
            If it does not grant `scope` or `model`.
        JWKSUnavailableError
            If the issuer's keys cannot be read.
        TooManyInvalidTokensError
            If too many tokens from `address` were invalid, and this one has not been valid before.
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
        principal = self._tokens.fresh(token) or self._verified(token, address)
        if scope not in principal.scopes:
            raise PermissionDeniedError(scope, f"it requires the scope '{scope}'")
        if model is not None and not principal.can_access(model):
            raise PermissionDeniedError(scope, "its claim 'models' does not include this model")
        return principal

    def _verified(self, token: str, address: str) -> Principal:
        # A flood of invalid tokens does not concern callers who were here before, from whatever address.
        if token not in self._tokens:
            self._invalid_tokens.check(address)
        try:
            return self._tokens.principal_of(token)
        except InvalidTokenError:
            self._invalid_tokens.add(address)
            raise


def build_authenticator(settings: Settings) -> BearerAuthenticator | None:
    """Return the authenticator that `settings` configure; None: no authentication.

    Raises
    ------
    SettingsError
        If a key is not secure, or more than one key is configured.
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
        keys = RotatingKeys(
            settings.auth_jwks_url, settings.auth_jwks_cooldown_seconds, settings.auth_jwks_max_age_seconds
        )
    else:
        return None
    return BearerAuthenticator(
        TokenVerifier(keys, settings.auth_issuer, settings.auth_audience, settings.auth_leeway_seconds),
        InvalidTokenLimiter(settings.auth_invalid_token_rate_limit, settings.service_workers),
    )


def check_exposure(settings: Settings) -> None:
    """Refuse to listen on a public address without authentication; on a loopback address, log a warning.

    Raises
    ------
    SettingsError
        As `build_authenticator`, and if there is no authentication and the address is not a loopback address.
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
        "no authentication is configured: anyone who can connect to %s port %s has full access. Set "
        "SLUICE_AUTH_SECRET, SLUICE_AUTH_PUBLIC_KEY or SLUICE_AUTH_JWKS_URL to require tokens",
        settings.service_host,
        settings.service_port,
    )


def open_scopes(settings: Settings) -> frozenset[str]:
    """Return the scopes that need no token and have no limits: metrics are among them on a loopback address."""
    return frozenset({"open", "metrics"} if is_loopback(settings.service_host) else {"open"})


def is_loopback(host: str) -> bool:
    """Return whether `host` is reachable from this machine only; a name other than localhost is not assumed to be."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
