"""Alerts to operators."""

from __future__ import annotations

from pydantic import AwareDatetime

from include.records.base import Record


class Alert(Record):
    """A message to operators about a failure."""

    model: str | None
    dag_id: str
    task_id: str | None
    run_id: str
    try_number: int | None
    error: str
    log_url: str | None
    at: AwareDatetime
