"""The order of a retrain and of a score, written once: the steps, and the results that pass between them.

`include.pipeline` runs these steps in process, and Airflow runs each as a task. This module names the functions and
does not import them: a DAG file reads it every few seconds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from include.records import (
    Evaluation,
    ExportedCandidate,
    FittedCandidate,
    LateRows,
    ModelVersion,
    ParityCheck,
    Promotion,
    PublishedPartition,
    Record,
    Rehearsal,
    ScorePlan,
    ShadowDivergence,
    SnapshotRef,
    StagedShard,
    ValidationReport,
)
from include.spec import ModelSpec


def always(spec: ModelSpec) -> bool:  # noqa: ARG001  # the predicates of other steps read the declaration
    """Return True: the step is part of the flow of every model."""
    return True


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a flow.

    Parameters
    ----------
    name : str
        The name of its task in Airflow, and in the progress that the command line prints.
    function : str
        The name of its function in `include.pipeline`.
    takes : tuple of str
        The function's arguments other than `spec` and `resources`: results of earlier steps, and values of the run such
        as ``run_id`` and ``as_of``.
    gives : str
        The name of its result. A later step may replace the result of an earlier one.
    record : type of Record
        The type of its result.
    after : tuple of str
        Results that it waits for, but does not take.
    declared : callable
        Returns whether a model declares the step.
    each_shard : bool
        Whether it runs once for each shard of the plan, with the number as `shard`; its result is then a list.
    by_person : bool
        Whether a person does it. A run in this process ends before such a step.
    """

    name: str
    function: str
    takes: tuple[str, ...]
    gives: str
    record: type[Record]
    after: tuple[str, ...] = ()
    declared: Callable[[ModelSpec], bool] = always
    each_shard: bool = False
    by_person: bool = False


RETRAIN: tuple[Step, ...] = (
    Step("validate", "validate_training_data", ("run_id", "as_of"), "report", ValidationReport),
    Step("snapshot", "take_snapshot", ("as_of", "report", "run_id", "again"), "snapshot", SnapshotRef),
    Step("train", "train_candidate", ("run_id", "snapshot"), "fitted", FittedCandidate),
    Step("export", "export_candidate", ("fitted",), "exported", ExportedCandidate),
    Step("parity", "check_parity", ("exported",), "exported", ExportedCandidate),
    Step(
        "reproduce",
        "check_reproducibility",
        ("exported",),
        "exported",
        ExportedCandidate,
        declared=lambda spec: spec.reproducible,
    ),
    Step("evaluate", "evaluate_candidate", ("exported",), "compared", Evaluation),
    # After the evaluation, not in parallel: its load would distort the latency that the rehearsal measures.
    Step("rehearse", "rehearse_candidate", ("exported",), "rehearsal", Rehearsal, after=("compared",)),
    Step(
        "gate",
        "evaluate_gates",
        ("exported", "compared", "rehearsal", "requested_by", "again"),
        "version",
        ModelVersion,
    ),
    Step(
        "approve",
        "record_approval",
        ("version",),
        "approval",
        ModelVersion,
        declared=lambda spec: spec.approval is not None,
        by_person=True,
    ),
    Step(
        "promote",
        "promote_candidate",
        ("version", "actor", "allow_older"),
        "promotion",
        Promotion,
        after=("approval",),
    ),
)
"""From the data contract to a new champion."""

SCORE: tuple[Step, ...] = (
    Step("validate", "validate_partition", ("run_id", "period", "version", "mode"), "report", ValidationReport),
    Step("plan", "plan_partition", ("report", "run_id", "shards", "try_number"), "plan", ScorePlan),
    Step("score", "score_shard", ("plan", "shard", "try_number"), "staged", StagedShard, each_shard=True),
    Step("publish", "publish_partition", ("plan", "staged", "try_number"), "published", PublishedPartition),
    Step(
        "check_online_parity",
        "check_online_parity",
        ("published",),
        "parity",
        ParityCheck,
        declared=lambda spec: spec.scoring.parity == "alert",
    ),
    Step(
        "shadow",
        "shadow_partition",
        ("published", "run_id"),
        "divergence",
        ShadowDivergence,
        declared=lambda spec: spec.shadow is not None,
    ),
    Step(
        "late_rows",
        "check_late_rows",
        ("published", "run_id"),
        "late_rows",
        LateRows,
        declared=lambda spec: spec.scoring.late_rows != "ignore",
    ),
)
"""From the data contract to a published partition, and the measurements after it."""
