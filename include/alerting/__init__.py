"""Alerts, the incidents that they are part of, and the messages that follow.

`AlertDispatcher` is what others use. `incidents` opens and ends them, `outbox` delivers messages to `channels`, `spool`
keeps alerts while the database cannot be reached, and `formatting` writes texts.
"""

from include.alerting.dispatcher import AlertDispatcher

__all__ = ["AlertDispatcher"]
