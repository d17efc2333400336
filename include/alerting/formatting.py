"""The text of alerts: what failed, since when, what users get, what to do, and where to look."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import quote

from include.records import Alert, Incident, Problem

LONGEST_ERROR: Final = 4000
"""Maximum length of an error in characters: chat services reject longer messages."""
_SHOWN_SUBJECTS: Final = 5
_NUMBERS: Final = re.compile(r"[0-9a-f]{8,}|\d+")

SERVICE: Final = "model_service"
_SEVERITIES: Final = {
    # Users get no new scores, or none at all.
    "failed_score": "page",
    "refused_artifact": "page",
    # The champion of before goes on.
    "failed_retrain": "ticket",
    "failed_operation": "ticket",
    "failed_run": "ticket",
}
_NEXT_STEPS: Final = {
    "failed_score": "Read the log, remove the cause, and clear the failed task in the Airflow UI. It is not retried.",
    "failed_retrain": "Read the log, remove the cause, and clear the failed task, or wait for the next run.",
    "failed_operation": "Read the log; nothing was changed unless it says so. Start the operation again.",
    "failed_run": "Read the log, remove the cause, and clear the failed task in the Airflow UI.",
    "refused_artifact": "Make its folder whole again, or roll back: `sluice rollback {model} --reason ...`.",
}
_FALLBACK: Final = "Read the error; it says what to do."


def problem_of(alert: Alert, impact: str = "") -> Problem:
    """Return what an alert says is wrong; alerts of one cause have one key.

    Causes are compared by DAG, task and error, without the numbers in it: ten partitions that fail alike are one
    incident. What the online service reports is also found by the watcher: both are one incident, which has no cause.
    """
    kind = _kind_of(alert)
    cause = "" if alert.dag_id == SERVICE else f"{_place(alert)}: {_NUMBERS.sub('#', shortened(alert.error))[:200]}"
    return Problem(
        kind=kind,
        model=alert.model,
        cause=cause,
        severity=_SEVERITIES.get(kind, "ticket"),
        summary=f"{_place(alert)} {_verb(alert)}: {shortened(alert.error)}",
        impact=impact,
        next_step=_NEXT_STEPS.get(kind, _FALLBACK).format(model=alert.model or "MODEL"),
        subjects=(alert.subject or alert.run_id,),
        since=alert.at,
        url=alert.log_url,
    )


def title_of_alert(alert: Alert) -> str:
    """Return one line for the log: what was reported of which task."""
    subject = f"model {alert.model}: " if alert.model else ""
    return f"Sluice: {subject}{_place(alert)} {_verb(alert)}"


def title(incident: Incident) -> str:
    """Return the first line of a message: severity, model, and what is wrong."""
    state = "resolved" if incident.resolved_at else incident.severity
    subject = f"model {incident.model}: " if incident.model else ""
    times = f" ({incident.occurrences:,} times)" if incident.occurrences > 1 else ""
    return f"Sluice [{state}] {subject}{incident.kind.replace('_', ' ')}{times}"


def body(incident: Incident, airflow_url: str) -> str:
    """Return the text of a message."""
    since = f"{incident.opened_at:%Y-%m-%d %H:%M:%S} UTC"
    lines = [
        ("What", incident.summary),
        ("Resolved", f"{incident.resolution} At {incident.resolved_at:%Y-%m-%d %H:%M:%S} UTC.")
        if incident.resolved_at
        else ("", ""),
        ("Model", incident.model or "none: it is about all models"),
        ("Affected", subjects(incident.subjects)),
        ("Since", since if incident.occurrences == 1 else f"{since}, {incident.occurrences:,} times"),
        ("Users get", incident.impact),
        ("To do", "nothing" if incident.resolved_at else incident.next_step),
        ("Link", incident.url or model_page(airflow_url, incident.model)),
        # One that is told while the database cannot be reached has no id yet.
        ("Incident", f"{incident.id} (`sluice alerts show {incident.id}`)" if incident.id else ""),
    ]
    return "\n".join(f"{name}: {text}" for name, text in lines if text)


def subjects(affected: tuple[str, ...]) -> str:
    """Return the first of what is affected, and how many more there are."""
    more = len(affected) - _SHOWN_SUBJECTS
    return ", ".join(affected[:_SHOWN_SUBJECTS]) + (f" and {more:,} more" if more > 0 else "")


def model_page(airflow_url: str, model: str | None) -> str:
    """Return the address of a model's DAGs in the Airflow UI, or of all DAGs."""
    base = f"{airflow_url.rstrip('/')}/dags"
    return f"{base}?tags={quote(model)}" if model else base


def shortened(error: str) -> str:
    """Return `error`, cut to `LONGEST_ERROR` characters, with a note when it was cut."""
    if len(error) <= LONGEST_ERROR:
        return error
    return f"{error[:LONGEST_ERROR]} [{len(error) - LONGEST_ERROR} more characters in the log]"


def _kind_of(alert: Alert) -> str:
    if alert.kind != "failed_task":
        return alert.kind
    if alert.dag_id == SERVICE:
        return "refused_artifact"
    for prefix, kind in (("retrain_", "failed_retrain"), ("score_", "failed_score"), ("operate_", "failed_operation")):
        if alert.dag_id.startswith(prefix):
            return kind
    return "failed_run"


def _place(alert: Alert) -> str:
    return f"{alert.dag_id}.{alert.task_id}" if alert.task_id else alert.dag_id


def _verb(alert: Alert) -> str:
    return "failed" if alert.kind == "failed_task" else "reports"
