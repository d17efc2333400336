"""The DAGs of a model that a change of its declaration changes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from include.changes.comparison import FieldDifference

_TASKS = {
    "approval": ("retrain", "approve"),
    "reproducible": ("retrain", "reproduce"),
    "shadow": ("score", "shadow"),
}
_SCHEDULES = {"retrain_schedule": "retrain", "score_schedule": "score", "score_timezone": "score"}
_OF_BOTH = ("owner", "tags", "alert_channels")


def dag_changes(model: str, differences: Sequence[FieldDifference]) -> tuple[str, ...]:
    """Return the DAGs that change, each with what changes in it."""
    return tuple(change for each in differences for change in _changes(model, each))


def _changes(model: str, difference: FieldDifference) -> Iterator[str]:
    field = difference.field
    if field in _SCHEDULES:
        before, after = difference.before_text or "none", difference.after_text or "none"
        yield f"{_SCHEDULES[field]}_{model}: {field} {after}, was {before}"
    elif field in _TASKS:
        flow, task = _TASKS[field]
        if bool(difference.before) != bool(difference.after):
            yield f"{flow}_{model}: the task {task} is {'added' if difference.after else 'removed'}"
    elif field == "scoring.parity":
        if "alert" in (difference.before, difference.after):
            added = difference.after == "alert"
            yield f"score_{model}: the task check_online_parity is {'added' if added else 'removed'}"
    elif field.startswith("score_start."):
        yield f"score_{model}: scheduled runs start by another rule ({field})"
    elif field in _OF_BOTH:
        yield f"retrain_{model} and score_{model}: {field}"
