"""Alerts to operators."""

from __future__ import annotations

from pydantic import AwareDatetime

from include.records.base import Record


class Alert(Record):
    """A failure, or something else that operators should know of, at the moment when it happened.

    Attributes
    ----------
    kind : str
        ``failed_task``, or what a task that did not fail reports, such as ``late_rows``.
    subject : str or None
        The partition that is affected; None: the run.
    """

    model: str | None
    dag_id: str
    task_id: str | None
    run_id: str
    try_number: int | None
    error: str
    log_url: str | None
    at: AwareDatetime
    kind: str = "failed_task"
    subject: str | None = None
