"""The frozen values that pass between steps: references, figures and verdicts, never rows.

``to_plain`` turns a record into JSON types and ``from_plain`` back, to pass it between Airflow tasks.
"""

from include.records.alerts import Alert
from include.records.audit import Attestation, AuditCheck
from include.records.base import Period, Record, as_argument
from include.records.candidates import ExportedCandidate, FittedCandidate, ParityOfRows, ParityReport
from include.records.card import CARD_DATA, Bin, CardData, Curve, Importance
from include.records.changes import (
    CHANGE_CLASSES,
    ChangeClass,
    ChangeEffect,
    ChangePlan,
    DeclarationChange,
    PartitionSpan,
    RowComparison,
    TouchedVersion,
)
from include.records.data import CheckResult, Purpose, SnapshotRef, Split, ValidationReport
from include.records.deletion import DeletionPlan, ModelDeletion
from include.records.evidence import Decision, Evaluation, Evidence, GateResult, Rehearsal
from include.records.incidents import AlertMessage, AlertSilence, Incident, IncidentEvent, IncidentSeverity, Problem
from include.records.metrics import DataChecks, Difference, FeatureStrength, GroupRates, Interval, SliceMetric
from include.records.parity import ParityCheck, ParityVerdict
from include.records.registry import ApprovalDecision, ModelVersion, Promotion, PromotionHold
from include.records.reproducible import Reproducibility
from include.records.scores import (
    LatePartition,
    LateRows,
    PublishedPartition,
    RemovedPartition,
    ScoreMode,
    ScorePlan,
    Shard,
    StagedShard,
    UnknownCategories,
)
from include.records.shadow import Divergence, ShadowDivergence

__all__ = [
    "CARD_DATA",
    "CHANGE_CLASSES",
    "Alert",
    "AlertMessage",
    "AlertSilence",
    "ApprovalDecision",
    "Attestation",
    "AuditCheck",
    "Bin",
    "CardData",
    "ChangeClass",
    "ChangeEffect",
    "ChangePlan",
    "CheckResult",
    "Curve",
    "DataChecks",
    "Decision",
    "DeclarationChange",
    "DeletionPlan",
    "Difference",
    "Divergence",
    "Evaluation",
    "Evidence",
    "ExportedCandidate",
    "FeatureStrength",
    "FittedCandidate",
    "GateResult",
    "GroupRates",
    "Importance",
    "Incident",
    "IncidentEvent",
    "IncidentSeverity",
    "Interval",
    "LatePartition",
    "LateRows",
    "ModelDeletion",
    "ModelVersion",
    "ParityCheck",
    "ParityOfRows",
    "ParityReport",
    "ParityVerdict",
    "PartitionSpan",
    "Period",
    "Problem",
    "Promotion",
    "PromotionHold",
    "PublishedPartition",
    "Purpose",
    "Record",
    "Rehearsal",
    "RemovedPartition",
    "Reproducibility",
    "RowComparison",
    "ScoreMode",
    "ScorePlan",
    "ShadowDivergence",
    "Shard",
    "SliceMetric",
    "SnapshotRef",
    "Split",
    "StagedShard",
    "TouchedVersion",
    "UnknownCategories",
    "ValidationReport",
    "as_argument",
]
