"""Alerting: the message when something failed, and its recipients.

`AlertDispatcher.raise_alert` sends it to everyone who should know; `formatting` writes its text.
"""

from include.alerting.dispatcher import AlertDispatcher
from include.alerting.formatting import body, title

__all__ = ["AlertDispatcher", "body", "title"]
