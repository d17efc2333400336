"""Incidents in the database: opened by the first occurrence of a problem, ended when its cause is gone.

Every function works within the transaction of its connection. What changes an incident locks its row first, so two
processes that see one problem at once open one incident, and each message is written once.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, RowMapping, text

from include.alerting import formatting
from include.errors import IncidentError
from include.records import AlertSilence, Incident, IncidentEvent, Problem
from include.settings import Settings

DEFAULT: Final = "default"
"""The channel that gets every alert, when the operator gave it an address."""
UPDATES_AT: Final = (10, 100, 1_000)
"""Occurrences at which an incident is told again. With its begin and its end, that makes five messages at most."""
MAX_SUBJECTS: Final = 10_000
_OF_NO_PARTITION: Final = frozenset({"parity_not_checked"})
"""Kinds that any later success ends: their cause is none of the partition."""
_WORST: Final = ("note", "ticket", "page")

_OPEN = text("SELECT * FROM sluice.incident WHERE key = :key AND resolved_at IS NULL FOR UPDATE")
_INSERT = text(
    "INSERT INTO sluice.incident (key, kind, model, cause, severity, summary, impact, next_step, url, subjects, "
    "channels, opened_at, last_seen_at) VALUES (:key, :kind, :model, :cause, :severity, :summary, :impact, :next_step, "
    ":url, :subjects, :channels, :since, :now) ON CONFLICT (key) WHERE resolved_at IS NULL DO NOTHING "
    "RETURNING *"
)
_UPDATE = text(
    "UPDATE sluice.incident SET severity = :severity, summary = :summary, impact = :impact, next_step = :next_step, "
    "url = :url, subjects = :subjects, channels = :channels, occurrences = :occurrences, last_seen_at = :now "
    "WHERE id = :id RETURNING *"
)
_ALL = text(
    "SELECT * FROM sluice.incident WHERE (CAST(:model AS text) IS NULL OR model = :model) "
    "ORDER BY opened_at DESC, id DESC LIMIT :limit"
)
_ALL_OPEN = text(
    "SELECT * FROM sluice.incident WHERE resolved_at IS NULL AND (CAST(:model AS text) IS NULL OR model = :model) "
    "ORDER BY severity = 'page' DESC, opened_at, id LIMIT :limit"
)
_EVENT = text(
    "INSERT INTO sluice.incident_event (incident_id, at, event, actor, details) "
    "VALUES (:id, :at, :event, :actor, :details)"
)
_SILENCED = text(
    "SELECT max(until) FROM sluice.alert_silence WHERE lifted_at IS NULL AND until > :now "
    "AND (model IS NULL OR model = :model) AND (kind IS NULL OR kind = :kind)"
)
_MESSAGE = text(
    "INSERT INTO sluice.alert_message (incident_id, number, reference, channel, action, title, body, created_at, "
    "next_attempt_at, delivered_at) VALUES (:incident_id, :number, :reference, :channel, :action, :title, :body, :now, "
    ":now, :delivered_at)"
)


def report(
    connection: Connection,
    problem: Problem,
    settings: Settings,
    now: datetime,
    channels: Iterable[str] = (),
    delivered: Mapping[str, str] | None = None,
) -> Incident:
    """Add an occurrence of a problem to its incident, or open one.

    Parameters
    ----------
    connection : Connection
    problem : Problem
    settings : Settings
    now : datetime
    channels : iterable of str
        Of the model, beside the default one.
    delivered : mapping of str to str, optional
        The channels that were told already, while the database could not be reached, each with the message's id.
    """
    found = _locked(connection, problem.key)
    if found is None:
        found = _opened(connection, problem, now, channels)
        if found is not None:
            _record(connection, found.id, "opened", now, details=problem.summary)
            _write_messages(connection, found, "trigger", settings, now, delivered)
            return found
        return report(connection, problem, settings, now, channels, delivered)  # another process opened it just now
    return _add(connection, found, problem, settings, now, channels, more=1)


def watch(
    connection: Connection,
    problems: Sequence[Problem],
    kinds: Collection[str],
    settings: Settings,
    now: datetime,
    channels: Mapping[str, Iterable[str]],
) -> tuple[Incident, ...]:
    """Make the open incidents of some kinds those of `problems`, which are all that there are now.

    Parameters
    ----------
    connection : Connection
    problems : sequence of Problem
        At most one of each key.
    kinds : collection of str
        The kinds that were looked for. Other incidents stay as they are.
    settings : Settings
    now : datetime
    channels : mapping of str to iterable of str
        The channels of each model.

    Returns
    -------
    tuple of Incident
        Those that were opened or resolved.
    """
    changed = []
    for problem in problems:
        of_model = tuple(channels.get(problem.model or "", ()))
        found = _locked(connection, problem.key)
        if found is None:
            changed.append(report(connection, problem, settings, now, of_model))
        else:
            _add(connection, found, problem, settings, now, of_model, more=0)
    seen = {problem.key for problem in problems}
    gone = [each for each in list_incidents(connection) if each.kind in kinds and each.key not in seen]
    return (*changed, *(resolve(connection, each.id, settings, now, "It is no longer found.") for each in gone))


def settle(
    connection: Connection,
    causes: Sequence[str],
    subject: str | None,
    settings: Settings,
    now: datetime,
    why: str,
    *,
    model: str | None = None,
    seen_before: datetime | None = None,
) -> tuple[Incident, ...]:
    """Take a subject from the open incidents with one of the causes, because it is well again; resolve what is empty.

    Parameters
    ----------
    connection : Connection
    causes : sequence of str
        Beginnings of causes, such as ``score_iris.``.
    subject : str or None
        The partition; None: every subject.
    settings : Settings
    now : datetime
    why : str
        The resolution of the incidents that end.
    model : str, optional
        Only incidents of this model.
    seen_before : datetime, optional
        When the run that succeeded began: what was seen since then is not ended by its success.

    Returns
    -------
    tuple of Incident
        Those that were resolved.
    """
    resolved = []
    for found in list_incidents(connection):
        if not found.cause.startswith(tuple(causes)) or model not in (None, found.model):
            continue
        each = _locked(connection, found.key)
        if each is None or each.last_seen_at >= (seen_before or now):
            continue
        well = each.subjects if subject is None or each.kind in _OF_NO_PARTITION else (subject,)
        left = [other for other in each.subjects if other not in well]
        if not left:
            resolved.append(resolve(connection, each.id, settings, now, why))
        elif len(left) < len(each.subjects):
            values = {"left": left, "id": each.id}
            connection.execute(text("UPDATE sluice.incident SET subjects = :left WHERE id = :id"), values)
    return tuple(resolved)


def resolve(
    connection: Connection, incident: int, settings: Settings, now: datetime, why: str, actor: str | None = None
) -> Incident:
    """End an incident, and tell the channels that were told of it.

    Raises
    ------
    IncidentError
        If there is none with this id, or it has ended.
    """
    changed = connection.execute(
        text(
            "UPDATE sluice.incident SET resolved_at = greatest(:now, last_seen_at), resolution = :why, subjects = '{}' "
            "WHERE id = :id AND resolved_at IS NULL RETURNING *"
        ),
        {"now": now, "why": why, "id": incident},
    ).mappings()
    row = changed.one_or_none()
    if row is None:
        raise _no_open(connection, incident)
    ended = _incident(row)
    _record(connection, ended.id, "resolved", now, actor, why)
    _write_messages(connection, ended, "resolve", settings, now)
    return ended


def acknowledge(connection: Connection, incident: int, actor: str, reason: str, now: datetime) -> Incident:
    """Record that a person has taken over an open incident: there are no more messages but its last.

    Raises
    ------
    IncidentError
        If there is none with this id, it has ended, or somebody has acknowledged it.
    """
    changed = connection.execute(
        text(
            "UPDATE sluice.incident SET acknowledged_at = :now, acknowledged_by = :actor WHERE id = :id "
            "AND resolved_at IS NULL AND acknowledged_at IS NULL RETURNING *"
        ),
        {"now": now, "actor": actor, "id": incident},
    ).mappings()
    row = changed.one_or_none()
    if row is None:
        raise _no_open(connection, incident)
    _record(connection, incident, "acknowledged", now, actor, reason)
    return _incident(row)


def silence(
    connection: Connection, model: str | None, kind: str | None, until: datetime, actor: str, reason: str, now: datetime
) -> AlertSilence:
    """Tell nobody of incidents of a model, of a kind, or of both, until a time.

    Raises
    ------
    IncidentError
        If the time has passed.
    """
    if until <= now:
        raise IncidentError(
            f"expected an end of the silence in the future; found {until:%Y-%m-%d %H:%M} UTC. Nothing was changed. "
            "Give --for, such as 4h."
        )
    row = connection.execute(
        text(
            "INSERT INTO sluice.alert_silence (model, kind, until, reason, actor, created_at) "
            "VALUES (:model, :kind, :until, :reason, :actor, :now) "
            "RETURNING id, model, kind, until, reason, actor, created_at"
        ),
        {"model": model, "kind": kind, "until": until, "reason": reason, "actor": actor, "now": now},
    ).mappings()
    return AlertSilence.model_validate(dict(row.one()))


def lift_silence(connection: Connection, silence_id: int, actor: str, now: datetime) -> None:
    """End a silence before its time.

    Raises
    ------
    IncidentError
        If there is none with this id in force.
    """
    changed = connection.execute(
        text(
            "UPDATE sluice.alert_silence SET lifted_at = :now, lifted_by = :actor "
            "WHERE id = :id AND lifted_at IS NULL AND until > :now"
        ),
        {"now": now, "actor": actor, "id": silence_id},
    )
    if changed.rowcount == 0:
        raise IncidentError(
            f"expected the id of a silence in force; found {silence_id}. Nothing was changed. "
            "`sluice alerts` lists them."
        )


def report_what_was_silenced(connection: Connection, settings: Settings, now: datetime) -> int:
    """Write the first message of open incidents whose silence is over; return how many."""
    never_told = text(
        "SELECT * FROM sluice.incident AS open WHERE resolved_at IS NULL AND severity <> 'note' "
        "AND acknowledged_at IS NULL AND EXISTS (SELECT FROM sluice.incident_event AS event "
        "WHERE event.incident_id = open.id AND event.event = 'silenced') AND NOT EXISTS "
        "(SELECT FROM sluice.alert_message AS message WHERE message.incident_id = open.id) FOR UPDATE SKIP LOCKED"
    )
    count = 0
    for row in connection.execute(never_told).mappings().all():
        incident = _incident(row)
        if _silenced_until(connection, incident, now) is None:
            _write_messages(connection, incident, "trigger", settings, now)
            count += 1
    return count


def list_incidents(
    connection: Connection, *, with_resolved: bool = False, model: str | None = None, limit: int = 10_000
) -> tuple[Incident, ...]:
    """Return the open incidents, the worst first; with those that have ended, the newest first."""
    rows = connection.execute(_ALL if with_resolved else _ALL_OPEN, {"model": model, "limit": limit})
    return tuple(_incident(row) for row in rows.mappings())


def find_incident(connection: Connection, incident: int) -> tuple[Incident, tuple[IncidentEvent, ...]]:
    """Return an incident and its history.

    Raises
    ------
    IncidentError
        If there is none with this id.
    """
    row = connection.execute(text("SELECT * FROM sluice.incident WHERE id = :id"), {"id": incident}).mappings()
    found = row.one_or_none()
    if found is None:
        raise _unknown(incident)
    events = connection.execute(
        text("SELECT at, event, actor, details FROM sluice.incident_event WHERE incident_id = :id ORDER BY id"),
        {"id": incident},
    ).mappings()
    return _incident(found), tuple(IncidentEvent.model_validate(dict(each)) for each in events)


def list_silences(connection: Connection, now: datetime) -> tuple[AlertSilence, ...]:
    """Return the silences in force, the oldest first."""
    rows = connection.execute(
        text(
            "SELECT id, model, kind, until, reason, actor, created_at FROM sluice.alert_silence "
            "WHERE lifted_at IS NULL AND until > :now ORDER BY id"
        ),
        {"now": now},
    )
    return tuple(AlertSilence.model_validate(dict(row)) for row in rows.mappings())


def record_undelivered(connection: Connection, incident: int, now: datetime, details: str) -> None:
    """Record in an incident's history that a message was given up."""
    _record(connection, incident, "undelivered", now, details=details)


def _incident(row: RowMapping) -> Incident:
    return Incident.model_validate({name: row[name] for name in Incident.model_fields})


def _locked(connection: Connection, key: str) -> Incident | None:
    row = connection.execute(_OPEN, {"key": key}).mappings().one_or_none()
    return None if row is None else _incident(row)


def _opened(connection: Connection, problem: Problem, now: datetime, channels: Iterable[str]) -> Incident | None:
    """Insert an incident; return None if there is one."""
    values = problem.model_dump() | {
        "key": problem.key,
        "subjects": list(problem.subjects[:MAX_SUBJECTS]),
        "channels": sorted(set(channels)),
        "since": min(problem.since, now),
        "now": now,
    }
    row = connection.execute(_INSERT, values).mappings().one_or_none()
    return None if row is None else _incident(row)


def _add(
    connection: Connection,
    found: Incident,
    problem: Problem,
    settings: Settings,
    now: datetime,
    channels: Iterable[str],
    *,
    more: int,
) -> Incident:
    """Add `more` occurrences to an incident that is locked; with none, its subjects become those of the problem."""
    known = dict.fromkeys(found.subjects if more else ())
    subjects = list(known | dict.fromkeys(problem.subjects))[:MAX_SUBJECTS]
    severity = max(found.severity, problem.severity, key=_WORST.index)
    values = problem.model_dump(include={"summary", "impact", "next_step", "url"}) | {
        "severity": severity,
        "subjects": subjects,
        "channels": sorted({*found.channels, *channels}),
        "occurrences": found.occurrences + more,
        "now": max(now, found.last_seen_at),
        "id": found.id,
    }
    changed = _incident(connection.execute(_UPDATE, values).mappings().one())
    if severity != found.severity:
        _record(connection, found.id, "worse", now, details=f"{found.severity} to {severity}: {problem.summary}")
        _write_messages(connection, changed, "update", settings, now)
    elif more and changed.occurrences in UPDATES_AT:
        _write_messages(connection, changed, "update", settings, now)
    return changed


def _write_messages(
    connection: Connection,
    incident: Incident,
    action: str,
    settings: Settings,
    now: datetime,
    delivered: Mapping[str, str] | None = None,
) -> None:
    """Write a message for each channel, unless nobody is to be told of the incident now."""
    numbers = _sent_to(connection, incident.id)
    if action == "resolve":
        channels = list(numbers)
    elif incident.severity == "note" or incident.acknowledged_at is not None:
        return
    elif (until := _silenced_until(connection, incident, now)) is not None and not delivered:
        if not numbers:
            _record(connection, incident.id, "silenced", now, details=f"until {until:%Y-%m-%d %H:%M} UTC")
        return
    else:
        channels = [*dict.fromkeys([*addressed(incident, settings), *(delivered or ())])]
    number = max(numbers.values(), default=0) + 1
    action = "trigger" if not numbers else action
    for channel in channels:
        reference = (delivered or {}).get(channel)
        connection.execute(
            _MESSAGE,
            {
                "incident_id": incident.id,
                "number": number,
                "reference": reference or f"incident-{incident.id}-{number}",
                "channel": channel,
                "action": action,
                "title": formatting.title(incident),
                "body": formatting.body(incident, settings.airflow_url),
                "now": now,
                "delivered_at": now if reference else None,
            },
        )


def addressed(incident: Incident, settings: Settings) -> list[str]:
    """Return the channels that are told of an incident: the default one and the model's, if they take its severity."""
    default = [DEFAULT] if DEFAULT in settings.alert_channels else []
    names = dict.fromkeys([*default, *incident.channels])
    return [name for name in names if incident.severity in settings.alert_severities.get(name, ("page", "ticket"))]


def _sent_to(connection: Connection, incident: int) -> dict[str, int]:
    """Return the channels for which there are messages, each with the number of the last one."""
    rows = connection.execute(
        text(
            "SELECT channel, max(number) AS number FROM sluice.alert_message WHERE incident_id = :id GROUP BY channel"
        ),
        {"id": incident},
    )
    return {row.channel: row.number for row in rows}


def _silenced_until(connection: Connection, incident: Incident, now: datetime) -> datetime | None:
    values = {"now": now, "model": incident.model, "kind": incident.kind}
    until: datetime | None = connection.execute(_SILENCED, values).scalar_one()
    return until


def _record(
    connection: Connection, incident: int, event: str, at: datetime, actor: str | None = None, details: str = ""
) -> None:
    connection.execute(_EVENT, {"id": incident, "at": at, "event": event, "actor": actor, "details": details})


def _no_open(connection: Connection, incident: int) -> IncidentError:
    found, _ = find_incident(connection, incident)
    if found.resolved_at is not None:
        state = f"one that ended at {found.resolved_at:%Y-%m-%d %H:%M} UTC: {found.resolution}"
    else:
        state = f"one that {found.acknowledged_by} has acknowledged"
    return IncidentError(f"expected the id of an open incident; found {incident}, {state} Nothing was changed.")


def _unknown(incident: int) -> IncidentError:
    return IncidentError(
        f"expected the id of an incident; found {incident}. Nothing was changed. `sluice alerts --all` lists them."
    )
