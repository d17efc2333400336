"""Delivers the messages that incidents have written, each until its channel accepts it.

A message is locked while it is sent, and marked in the same transaction. If the sender is killed between the two, the
message is sent again, with the id of before: receivers know a repetition by it. To one channel the messages of an
incident are sent in their order.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection, Engine, RowMapping, text

from include.alerting import incidents
from include.alerting.channels import send
from include.records import AlertMessage, Incident
from include.settings import Settings

FIRST_RETRY: Final = timedelta(seconds=5)
LONGEST_RETRY: Final = timedelta(minutes=15)
GIVE_UP_AFTER: Final = timedelta(days=7)

Failed = Callable[[Incident, AlertMessage, str], None]

_DUE = text(
    "SELECT * FROM sluice.alert_message AS due "
    "WHERE delivered_at IS NULL AND abandoned_at IS NULL AND next_attempt_at <= :now AND NOT EXISTS ("
    "SELECT FROM sluice.alert_message AS before WHERE before.incident_id = due.incident_id "
    "AND before.channel = due.channel AND before.number < due.number "
    "AND before.delivered_at IS NULL AND before.abandoned_at IS NULL) AND channel <> ALL(CAST(:failing AS text[])) "
    "ORDER BY next_attempt_at, id LIMIT 1 FOR UPDATE OF due SKIP LOCKED"
)
_DELIVERED = text(
    "UPDATE sluice.alert_message SET attempts = attempts + 1, delivered_at = :now, last_error = NULL WHERE id = :id"
)
_FAILED = text(
    "UPDATE sluice.alert_message SET attempts = attempts + 1, next_attempt_at = :next, last_error = :why, "
    "abandoned_at = :abandoned WHERE id = :id"
)


def deliver(engine: Engine, settings: Settings, now: datetime, failed: Failed, limit: int = 100) -> int:
    """Send the messages that are due; return how many were delivered.

    A channel that does not accept one gets no other now: a hundred messages to one that is away would take minutes.

    Parameters
    ----------
    engine : Engine
    settings : Settings
    now : datetime
    failed : callable
        Called with the incident, the message and the reason for each one that was not.
    limit : int
        Maximum number of messages that are tried.
    """
    delivered, failing = 0, list[str]()

    def note(incident: Incident, message: AlertMessage, why: str) -> None:
        failing.append(message.channel)
        failed(incident, message, why)

    for _ in range(limit):
        outcome = _deliver_one(engine, settings, now, failing, note)
        if outcome is None:
            break
        delivered += outcome
    return delivered


def retry_after(attempts: int) -> timedelta:
    """Return how long a message waits after so many failed attempts: twice as long each time, up to 15 minutes."""
    return min(FIRST_RETRY * int(2 ** min(attempts - 1, 20)), LONGEST_RETRY)


def list_messages(connection: Connection, incident: int) -> tuple[AlertMessage, ...]:
    """Return the messages about an incident, in their order."""
    rows = connection.execute(
        text("SELECT * FROM sluice.alert_message WHERE incident_id = :id ORDER BY number, id"), {"id": incident}
    )
    return tuple(_message(row) for row in rows.mappings())


def _message(row: RowMapping) -> AlertMessage:
    return AlertMessage.model_validate({name: row[name] for name in AlertMessage.model_fields})


def _deliver_one(engine: Engine, settings: Settings, now: datetime, failing: list[str], failed: Failed) -> bool | None:
    """Send the message that is due first; return whether it was delivered, None if none is due."""
    with engine.begin() as connection:
        row = connection.execute(_DUE, {"now": now, "failing": failing}).mappings().one_or_none()
        if row is None:
            return None
        message = _message(row)
        incident, _ = incidents.find_incident(connection, message.incident_id)
        why = send(settings.alert_channels.get(message.channel), message, incident)
        if why is None:
            connection.execute(_DELIVERED, {"id": message.id, "now": now})
            return True
        abandoned = now - message.created_at >= GIVE_UP_AFTER
        values = {"id": message.id, "next": now + retry_after(message.attempts + 1), "why": why}
        connection.execute(_FAILED, values | {"abandoned": now if abandoned else None})
        if abandoned:
            details = f"channel '{message.channel}' did not accept {message.reference} for a week: {why}"
            incidents.record_undelivered(connection, incident.id, now, details)
    failed(incident, message, why)
    return False
