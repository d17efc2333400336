"""Who asks, and what they may: bearer tokens (JWT), checked once and remembered until they expire."""

from model_service.auth.authenticator import BearerAuthenticator, build_authenticator, check_exposure
from model_service.auth.token_cache import TokenCache
from model_service.auth.tokens import TokenVerifier
from model_service.http.principal import Principal

__all__ = ["BearerAuthenticator", "Principal", "TokenCache", "TokenVerifier", "build_authenticator", "check_exposure"]
