"""Who asks, and what they may: bearer tokens (JWT), checked once and remembered until they expire."""

from model_service.auth.caller import Caller
from model_service.auth.door import Door, check_exposure, open_door
from model_service.auth.tokens import TokenVerifier
from model_service.auth.verified import VerifiedTokens

__all__ = ["Caller", "Door", "TokenVerifier", "VerifiedTokens", "check_exposure", "open_door"]
