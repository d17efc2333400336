"""Alerting: what is said when something failed, and to whom.

`AlertDispatcher.raise_alert` tells everyone who should know; `formatting` holds every word of it.
"""

from include.alerting.dispatcher import AlertDispatcher
from include.alerting.formatting import body, title

__all__ = ["AlertDispatcher", "body", "title"]
