"""The frozen values that pass between steps: references, figures and verdicts, never rows.

Each turns into JSON with ``to_plain`` and back with ``from_plain``: so it crosses a task boundary in Airflow.
"""

from include.records.alerts import Alert
from include.records.base import Period, Record
from include.records.candidates import ExportedCandidate, FittedCandidate, ParityReport
from include.records.data import CheckResult, Purpose, SnapshotRef, Split, ValidationReport
from include.records.evidence import Decision, Evaluation, GateResult, Rehearsal
from include.records.registry import ModelVersion, Promotion
from include.records.scores import PublishedPartition

__all__ = [
    "Alert",
    "CheckResult",
    "Decision",
    "Evaluation",
    "ExportedCandidate",
    "FittedCandidate",
    "GateResult",
    "ModelVersion",
    "ParityReport",
    "Period",
    "Promotion",
    "PublishedPartition",
    "Purpose",
    "Record",
    "Rehearsal",
    "SnapshotRef",
    "Split",
    "ValidationReport",
]
