"""``sluice alerts``: lists incidents, shows, acknowledges, silences and closes them, and sends a test."""

from __future__ import annotations

import sys
from argparse import ArgumentTypeError, Namespace
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Final

from include.alerting import incidents, outbox
from include.alerting.formatting import subjects
from include.cli import exit_status, person
from include.cli.output import show
from include.errors import IncidentError
from include.models import DeclaredModels
from include.records import AlertMessage, AlertSilence, Incident, IncidentEvent, Problem
from include.resources import Resources

_UNITS: Final = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}
MAX_SILENCE: Final = timedelta(days=90)


def list_alerts(arguments: Namespace, _models: DeclaredModels, resources: Resources) -> int:
    """List the open incidents and the silences in force; with ``--all``, those that have ended, too."""
    with resources.engine.connect() as connection:
        found = incidents.list_incidents(
            connection, with_resolved=arguments.all, model=arguments.model, limit=arguments.limit
        )
        silences = incidents.list_silences(connection, resources.clock())
    show(arguments, {"incidents": found, "silences": silences}, _listed(found, silences))
    return 0


def show_alert(arguments: Namespace, _models: DeclaredModels, resources: Resources) -> int:
    """Show an incident, its history and its messages."""
    with resources.engine.connect() as connection:
        found, events = incidents.find_incident(connection, arguments.incident)
        messages = outbox.list_messages(connection, arguments.incident)
    show(arguments, {"incident": found, "events": events, "messages": messages}, _shown(found, events, messages))
    return 0


def acknowledge(arguments: Namespace, _models: DeclaredModels, resources: Resources) -> int:
    """Take over an incident: nobody is told of it again, except that it has ended."""
    with resources.engine.begin() as connection:
        incidents.acknowledge(connection, arguments.incident, person.who(), arguments.reason, resources.clock())
    _say(f"Incident {arguments.incident} is yours. Nobody is told of it again until it ends.")
    return 0


def close(arguments: Namespace, _models: DeclaredModels, resources: Resources) -> int:
    """End an incident that does not end by itself."""
    with resources.engine.begin() as connection:
        actor = person.who()
        why = f"Closed by {actor}: {arguments.reason}"
        incidents.resolve(connection, arguments.incident, resources.settings, resources.clock(), why, actor)
    resources.alerts.deliver()
    _say(f"Incident {arguments.incident} is closed. If its cause is seen again, another one is opened.")
    return 0


def silence(arguments: Namespace, models: DeclaredModels, resources: Resources) -> int:
    """Tell nobody of incidents of a model or a kind for some time."""
    model = None if arguments.model is None else models[arguments.model].name
    now = resources.clock()
    with resources.engine.begin() as connection:
        made = incidents.silence(
            connection, model, arguments.kind, now + arguments.duration, person.who(), arguments.reason, now
        )
    _say(f"Silence {made.id}: {_scope(made)} until {made.until:%Y-%m-%d %H:%M} UTC.")
    _say(f"`sluice alerts lift {made.id}` ends it before. What is open at its end is told then.")
    return 0


def lift(arguments: Namespace, _models: DeclaredModels, resources: Resources) -> int:
    """End a silence before its time."""
    with resources.engine.begin() as connection:
        incidents.lift_silence(connection, arguments.silence, person.who(), resources.clock())
    resources.alerts.deliver()
    _say(f"Silence {arguments.silence} is lifted. What is open is told now.")
    return 0


def send_test(arguments: Namespace, _models: DeclaredModels, resources: Resources) -> int:
    """Open and end an incident of kind `test`, and tell whether each channel accepted both messages.

    Raises
    ------
    IncidentError
        If no channel is configured, or none has this name.
    """
    known = sorted(resources.settings.alert_channels)
    if not known or arguments.channel not in (None, *known):
        asked = f"found {arguments.channel}" if known else "found none"
        raise IncidentError(
            f"expected a channel of SLUICE_ALERT_CHANNELS ({', '.join(known) or 'it is not set'}); {asked}. Nothing "
            "was sent. docs/how-to/alerts.md tells how to add one."
        )
    settings = resources.settings
    if arguments.channel is not None:
        only = {arguments.channel: settings.alert_channels[arguments.channel]}
        settings = settings.model_copy(update={"alert_channels": only})
    now = resources.clock()
    problem = Problem(
        kind="test",
        model=None,
        cause=f"{person.who()} {now.isoformat()}",
        severity="page",
        summary=f"{person.who()} tests whether alerts arrive",
        impact="what they got before",
        next_step="Nothing: it ends at once.",
        since=now,
    )
    with resources.engine.begin() as connection:
        opened = incidents.report(connection, problem, settings, now, settings.alert_channels)
        incidents.resolve(connection, opened.id, settings, now, "The test is over.")
    resources.alerts.deliver()
    with resources.engine.connect() as connection:
        messages = outbox.list_messages(connection, opened.id)
    failed = [each for each in messages if each.delivered_at is None]
    for each in messages:
        _say(f"{each.channel}: {each.action}: {_state(each)}")
    return exit_status.FAILED if failed else 0


def parse_duration(text: str) -> timedelta:
    """Return the duration that an option names, such as ``30m``, ``4h`` or ``2d``."""
    number, unit = text[:-1], text[-1:]
    if number.isascii() and number.isdigit() and len(number) < 6 and unit in _UNITS:
        duration = int(number) * _UNITS[unit]
        if timedelta() < duration <= MAX_SILENCE:
            return duration
    raise ArgumentTypeError(f"expected a time such as 30m, 4h or 2d, at most {MAX_SILENCE.days}d; found '{text}'")


def _listed(found: Iterable[Incident], silences: Iterable[AlertSilence]) -> Iterator[str]:
    lines = [_line(each) for each in found]
    yield from lines or ["No incident is open."]
    for silence in silences:
        yield (
            f"silence {silence.id}: {_scope(silence)} until {silence.until:%Y-%m-%d %H:%M} UTC, by {silence.actor}: "
            f"{silence.reason}"
        )


def _line(each: Incident) -> str:
    state: str = each.severity
    if each.resolved_at is not None:
        state = "ended"
    elif each.acknowledged_by is not None:
        state = f"{each.severity}, {each.acknowledged_by} has it"
    times = f", {each.occurrences:,} times" if each.occurrences > 1 else ""
    summary = each.summary.splitlines()[0]
    shown = summary if len(summary) <= 160 else f"{summary[:157]}..."
    return f"{each.id:>5}  {_moment(each.opened_at)}  [{state}] {each.kind} {each.model or '-'}{times}: {shown}"


def _shown(found: Incident, events: Iterable[IncidentEvent], messages: Iterable[AlertMessage]) -> Iterator[str]:
    yield _line(found)
    details = [
        ("What", found.summary),
        ("Affected", subjects(found.subjects)),
        ("Users get", found.impact),
        ("To do", found.next_step),
        ("Link", found.url or ""),
        ("Seen last", _moment(found.last_seen_at)),
    ]
    yield from (f"{name}: {value}" for name, value in details if value)
    yield "History:"
    for event in events:
        actor = f" by {event.actor}" if event.actor else ""
        yield f"  {_moment(event.at)}  {event.event}{actor}: {event.details}"
    yield "Messages:"
    for message in messages:
        yield f"  {_moment(message.created_at)}  {message.channel}: {message.action}: {_state(message)}"


def _state(message: AlertMessage) -> str:
    if message.delivered_at is not None:
        return f"delivered at {_moment(message.delivered_at)}"
    if message.abandoned_at is not None:
        return f"given up at {_moment(message.abandoned_at)}: {message.last_error}"
    why = f": {message.last_error}" if message.last_error else ""
    return f"not delivered after {message.attempts} attempt(s){why}; tried again at {_moment(message.next_attempt_at)}"


def _scope(silence: AlertSilence) -> str:
    kind = f"incidents of kind {silence.kind}" if silence.kind else "all incidents"
    return f"nobody is told of {kind}" + (f" of model {silence.model}" if silence.model else "")


def _moment(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"


def _say(sentence: str) -> None:
    sys.stdout.write(f"{sentence}\n")
