"""Watching: what should be there and is not, found without Airflow.

`observe` reads the state of models and processes, `find_problems` says what is wrong in it, and `unjudged_kinds` what
could not be judged. `expected` has the deadlines, `checks` every kind of problem with its severity.
"""

from include.watching.checks import KINDS, Kind, find_problems, pages, unjudged_kinds
from include.watching.expected import MAX_EXPECTED, ExpectedPartition, deadline_of, expected_partitions, watched_since
from include.watching.labels import count_labels
from include.watching.ledger import AirflowReading, read_airflow, read_ledger
from include.watching.observation import observe
from include.watching.processes import (
    WATCHER,
    ask_service,
    beat,
    end_heartbeat,
    expected_parts,
    free_space,
    read_heartbeats,
    stack_runs,
)
from include.watching.state import WatchState

__all__ = [
    "KINDS",
    "MAX_EXPECTED",
    "WATCHER",
    "AirflowReading",
    "ExpectedPartition",
    "Kind",
    "WatchState",
    "ask_service",
    "beat",
    "count_labels",
    "deadline_of",
    "end_heartbeat",
    "expected_partitions",
    "expected_parts",
    "find_problems",
    "free_space",
    "observe",
    "pages",
    "read_airflow",
    "read_heartbeats",
    "read_ledger",
    "stack_runs",
    "unjudged_kinds",
    "watched_since",
]
