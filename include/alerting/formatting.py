"""The text of an alert."""

from __future__ import annotations

from include.records import Alert

LONGEST_ERROR = 4000
"""Maximum length of an error in characters: chat services reject longer messages."""


def title(alert: Alert) -> str:
    """Return the first line: the failed task or run."""
    place = f"{alert.dag_id}.{alert.task_id}" if alert.task_id else alert.dag_id
    subject = f"model {alert.model}: " if alert.model else ""
    return f"Sluice: {subject}{place} failed"


def body(alert: Alert) -> str:
    """Return the message: model, DAG, task, run, try, error and the URL of the log."""
    lines = [
        ("Model", alert.model or "none: the DAG belongs to all models"),
        ("DAG", alert.dag_id),
        ("Task", alert.task_id or "none: the run as a whole"),
        ("Run", alert.run_id),
        ("Try", str(alert.try_number) if alert.try_number is not None else "unknown"),
        ("At", f"{alert.at:%Y-%m-%d %H:%M:%S} UTC"),
        ("Error", shortened(alert.error)),
        ("Log", alert.log_url or "unknown: look for the run in the Airflow UI"),
    ]
    return "\n".join(f"{name}: {text}" for name, text in lines)


def shortened(error: str) -> str:
    """Return `error`, cut to `LONGEST_ERROR` characters, with a note when it was cut."""
    if len(error) <= LONGEST_ERROR:
        return error
    return f"{error[:LONGEST_ERROR]} [{len(error) - LONGEST_ERROR} more characters in the log]"
