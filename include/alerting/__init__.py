"""Alerting: what is said when something failed, and to whom.

`AlertDesk.raise_alert` tells everyone who should know; `wording` holds every word of it.
"""

from include.alerting.desk import AlertDesk
from include.alerting.wording import body, title

__all__ = ["AlertDesk", "body", "title"]
