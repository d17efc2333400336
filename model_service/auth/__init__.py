"""Authentication and authorisation by bearer tokens (JWT), which are verified once and cached until they expire."""

from model_service.auth.authenticator import BearerAuthenticator, build_authenticator, check_exposure, open_scopes
from model_service.auth.token_cache import TokenCache
from model_service.auth.tokens import TokenVerifier
from model_service.http.principal import Principal

__all__ = [
    "BearerAuthenticator",
    "Principal",
    "TokenCache",
    "TokenVerifier",
    "build_authenticator",
    "check_exposure",
    "open_scopes",
]
