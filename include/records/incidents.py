"""Problems that operators are told of, and the incidents that they open."""

from __future__ import annotations

from typing import Literal

from pydantic import AwareDatetime

from include.records.base import Record

Severity = Literal["page", "ticket", "note"]
"""Whether somebody is woken up (page), somebody has to act in working hours (ticket), or nobody has to act (note)."""


class Problem(Record):
    """What is wrong now, as a failed task or the watcher found it. All with one key are one incident.

    Attributes
    ----------
    kind : str
        What is wrong, as one word with underscores, such as ``late_partition``. docs/runbook.md has a section on each.
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

    kind: str
    model: str | None
    cause: str = ""
    severity: Severity
    summary: str
    impact: str = ""
    next_step: str = ""
    subjects: tuple[str, ...] = ()
    since: AwareDatetime
    url: str | None = None

    @property
    def key(self) -> str:
        """What all problems of one incident have in common."""
        return "/".join([self.kind, self.model or "-", *([self.cause] if self.cause else [])])
