"""The dress rehearsal: the real service, started on a candidate alone, before anybody depends on it."""

from include.rehearsal.run import rehearse
from include.rehearsal.sandbox import ServiceSandbox

__all__ = ["ServiceSandbox", "rehearse"]
