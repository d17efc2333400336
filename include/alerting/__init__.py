"""Alerts about failures: their text and their delivery.

`AlertDispatcher.raise_alert` stores and sends an alert; `formatting` writes its text.
"""

from include.alerting.dispatcher import AlertDispatcher
from include.alerting.formatting import body, title

__all__ = ["AlertDispatcher", "body", "title"]
