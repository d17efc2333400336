"""Problems that operators are told of, and the incidents that they open."""

from __future__ import annotations

from typing import Literal

from pydantic import AwareDatetime

from include.records.base import Record, StorableText

IncidentSeverity = Literal["page", "ticket", "note"]
"""Whether somebody is woken up (page), somebody has to act in working hours (ticket), or nobody has to act (note)."""


class Problem(Record):
    """What is wrong now, as a failed task or the watcher found it. All with one key are one incident.

    Attributes
    ----------
    kind : str
        What is wrong, as one word with underscores, such as ``late_partition``. docs/how-to/alerts.md lists them.
    model : str or None
        None if it is about no single model.
    cause : str
        Keeps problems of one kind and model apart if their causes differ, such as a task with its error. Mostly empty.
    severity : {'page', 'ticket', 'note'}
    summary : str
        One sentence: what is wrong, with figures.
    impact : str
        What users get now: which version answers, which partition is the newest.
    next_step : str
        What to do, in one line; also whether it is retried.
    subjects : tuple of str
        The partitions, runs, processes or versions that are affected. The incident ends when none is left.
    since : datetime
    url : str or None
        A page with more, such as the task's log; by default the model's page.
    """

    kind: StorableText
    model: StorableText | None
    cause: StorableText = ""
    severity: IncidentSeverity
    summary: StorableText
    impact: StorableText = ""
    next_step: StorableText = ""
    subjects: tuple[StorableText, ...] = ()
    since: AwareDatetime
    url: StorableText | None = None

    @property
    def key(self) -> str:
        """What all problems of one incident have in common."""
        return "/".join([self.kind, self.model or "-", *([self.cause] if self.cause else [])])


class Incident(Record):
    """What went wrong, from its first occurrence until its cause is gone.

    Attributes
    ----------
    key, kind, model, cause, severity, summary, impact, next_step, url, subjects
        As of the `Problem` that was reported last.
    id : int
    channels : tuple of str
        Of the model, beside the default one.
    occurrences : int
        How often it was reported.
    """

    id: int
    key: str
    kind: str
    model: str | None
    cause: str
    severity: IncidentSeverity
    summary: str
    impact: str
    next_step: str
    url: str | None
    subjects: tuple[str, ...]
    channels: tuple[str, ...]
    occurrences: int
    opened_at: AwareDatetime
    last_seen_at: AwareDatetime
    acknowledged_at: AwareDatetime | None
    acknowledged_by: str | None
    resolved_at: AwareDatetime | None
    resolution: str | None

    @property
    def is_open(self) -> bool:
        """Whether its cause is not known to be gone."""
        return self.resolved_at is None


class IncidentEvent(Record):
    """One line of the history of an incident."""

    at: AwareDatetime
    event: Literal["opened", "worse", "acknowledged", "silenced", "resolved", "undelivered"]
    actor: str | None
    details: str


class AlertMessage(Record):
    """A message about an incident to one channel.

    Attributes
    ----------
    reference : str
        The id by which the receiver knows a repetition.
    action : {'trigger', 'update', 'resolve'}
    attempts : int
        How often it was tried.
    """

    id: int
    incident_id: int
    reference: str
    channel: str
    action: Literal["trigger", "update", "resolve"]
    title: str
    body: str
    created_at: AwareDatetime
    attempts: int
    next_attempt_at: AwareDatetime
    last_error: str | None
    delivered_at: AwareDatetime | None
    abandoned_at: AwareDatetime | None


class AlertSilence(Record):
    """Incidents of a model, of a kind, or of both, that nobody is told of until a time."""

    id: int
    model: str | None
    kind: str | None
    until: AwareDatetime
    reason: str
    actor: str
    created_at: AwareDatetime
