"""The rehearsal: the real service is started with only the candidate, before it is registered."""

from include.rehearsal.run import rehearse
from include.rehearsal.sandbox import ServiceSandbox

__all__ = ["ServiceSandbox", "rehearse"]
