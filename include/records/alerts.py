"""Alerts to operators."""

from __future__ import annotations

from pydantic import AwareDatetime

from include.records.base import Record, StorableText


class Alert(Record):
    """A failure, or something else that operators should know of, at the moment when it happened.

    Attributes
    ----------
    kind : str
        ``failed_task``, or what a task that did not fail reports, such as ``late_rows``.
    subject : str or None
        The partition that is affected; None: the run.
    """

    model: StorableText | None
    dag_id: StorableText
    task_id: StorableText | None
    run_id: StorableText
    try_number: int | None
    error: StorableText
    log_url: StorableText | None
    at: AwareDatetime
    kind: str = "failed_task"
    subject: StorableText | None = None
