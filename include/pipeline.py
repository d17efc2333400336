"""READ FIRST: the life of a model, one function a step.

`include.flows` writes the order of the two flows once, and `retrain` and `score` run them in process:

    retrain   validate_training_data → take_snapshot → train_candidate → export_candidate → check_parity
              → check_reproducibility (if declared) → evaluate_candidate → rehearse_candidate → evaluate_gates
              → record_approval (if declared) → promote_candidate
    score     validate_partition → plan_partition → score_shard (for each shard) → publish_partition
              → check_online_parity (if declared) → shadow_partition (if declared)
              → check_late_rows (unless ignored)

The other functions are called by a run that waits, by a person or by the hourly `housekeeping`:

    wait      has_champion, find_broken_rules: the looks of a scheduled run that waits to start
    change    plan_changes: what an edit of a declaration means before it is live
    operate   approve_version, set_challenger, shadow_requests, move_champion, roll_back, hold_promotions,
              release_hold, drop_partition
    clean up  clean_staging, drop_expired_partitions, remove_old_work
    delete    plan_deletion, delete_model: a model whose declaration is gone
    audit     verify_version, explain_promotion, ml_test_score, attest

Each step takes records and returns a record: paths, digests and figures, never rows. So a step can be run again
alone, in another process. Only the steps in `include/steps/` compose the stages; no stage imports another.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from datetime import datetime
from typing import Any

from include.errors import SluiceError
from include.flows import RETRAIN, SCORE, Step
from include.records import (
    Evaluation,
    ExportedCandidate,
    FittedCandidate,
    LateRows,
    ModelVersion,
    Period,
    Promotion,
    PublishedPartition,
    Rehearsal,
    ScoreMode,
    ScorePlan,
    SnapshotRef,
    StagedShard,
    ValidationReport,
)
from include.registry import retrain_lock
from include.resources import Resources, open_resources, open_trainer_resources
from include.spec import ModelSpec
from include.steps.approval import approve_version, record_approval
from include.steps.audit import explain_promotion, verify_version
from include.steps.changes import plan_changes
from include.steps.declaration import check_pinned
from include.steps.deletion import delete_model, plan_deletion
from include.steps.evaluate import evaluate_candidate
from include.steps.housekeeping import clean_staging, drop_expired_partitions, drop_partition, remove_old_work
from include.steps.late_rows import apply_policy, find_late_rows, rescore_commands
from include.steps.online_parity import check_online_parity
from include.steps.operate import hold_promotions, move_champion, release_hold, roll_back
from include.steps.rehearse import rehearse_candidate
from include.steps.retrain import (
    check_parity,
    check_reproducibility,
    evaluate_gates,
    export_candidate,
    promote_candidate,
    take_snapshot,
    train_candidate,
)
from include.steps.score import abandon_partition, plan_partition, publish_partition, score_shard
from include.steps.scorecard import attest, ml_test_score
from include.steps.shadow import (
    check_shadow_bounds,
    set_challenger,
    shadow_partition,
    shadow_requests,
)
from include.steps.validation import find_broken_rules, has_champion, validate_partition, validate_training_data

__all__ = [  # noqa: RUF022  # in the order of the flow, not of the alphabet
    # what the steps work with
    "Resources",
    "open_resources",
    "open_trainer_resources",
    # the flows
    "Retrained",
    "retrain",
    "score",
    "run_step",
    "retrain_lock",
    # retrain
    "validate_training_data",
    "take_snapshot",
    "train_candidate",
    "export_candidate",
    "check_parity",
    "check_reproducibility",
    "evaluate_candidate",
    "rehearse_candidate",
    "evaluate_gates",
    "record_approval",
    "promote_candidate",
    # score
    "validate_partition",
    "plan_partition",
    "score_shard",
    "publish_partition",
    "abandon_partition",
    "check_online_parity",
    "shadow_partition",
    "check_late_rows",
    "find_late_rows",
    "rescore_commands",
    # before a scheduled score
    "has_champion",
    "find_broken_rules",
    # operate
    "approve_version",
    "set_challenger",
    "shadow_requests",
    "check_shadow_bounds",
    "move_champion",
    "roll_back",
    "hold_promotions",
    "release_hold",
    "drop_partition",
    # clean up
    "clean_staging",
    "drop_expired_partitions",
    "remove_old_work",
    # after the declaration is gone
    "plan_deletion",
    "delete_model",
    # before a change
    "plan_changes",
    # audit
    "verify_version",
    "explain_promotion",
    "ml_test_score",
    "attest",
]

Around = Callable[[Step], AbstractContextManager[Any]]
"""Called with each step; the step runs within what it returns."""


class Retrained:
    """The results of a retrain: an attribute for each step that ran."""

    report: ValidationReport
    snapshot: SnapshotRef
    fitted: FittedCandidate
    exported: ExportedCandidate
    compared: Evaluation
    rehearsal: Rehearsal | None
    version: ModelVersion
    promotion: Promotion | None = None

    def __init__(self, values: dict[str, Any]) -> None:
        for step in RETRAIN:
            if step.gives in values:
                setattr(self, step.gives, values[step.gives])


def retrain(
    spec: ModelSpec,
    run_id: str,
    as_of: datetime,
    resources: Resources,
    *,
    actor: str = "",
    requested_by: str | None = None,
    until: str = "promote",
    again: bool = False,
    allow_older: str | None = None,
    around: Around = nullcontext,
    **known: Any,
) -> Retrained:
    """Run the steps of a retrain in order, in this process.

    It ends with the gates when they reject the candidate, or when a person has to approve it first. No other retrain of
    the model runs meanwhile.

    Parameters
    ----------
    as_of : datetime
        The end of the window of rows, as far as labels are known by then.
    actor : str
        Who promotes an accepted candidate.
    requested_by : str, optional
        Who requested the run, and so may not approve its version.
    until : str
        The name of the last step to run.
    again : bool
        Whether to train although a version of the same declaration, rows, code and libraries is registered.
    allow_older : str, optional
        Why the candidate may replace a champion whose data end later.
    around : callable, optional
        Called with each `Step`; the step runs within the context manager that it returns.
    **known
        Results of steps, by name: these steps do not run. ``rehearsal=None`` leaves the rehearsal out.

    Raises
    ------
    RetrainRunningError
        When another retrain of the model is under way.
    NothingNewError
        When a version of the same declaration, rows, code and libraries is registered, without `again`.
    SluiceError
        The error of the step that failed.
    """
    values = {"run_id": run_id, "as_of": as_of, "actor": actor, "requested_by": requested_by, **known}
    values |= {"again": again, "allow_older": allow_older}
    with nullcontext() if "version" in known else retrain_lock(resources.engine, spec.name):
        for step in RETRAIN:
            if not step.declared(spec) or step.gives in known:
                continue
            if step.by_person or (step.name == "promote" and not values["version"].decision.accepted):
                break
            with around(step):
                values[step.gives] = run_step(step, spec, values, resources)
            if step.name == until:
                break
    return Retrained(values)


def score(
    spec: ModelSpec,
    run_id: str,
    period: Period,
    resources: Resources,
    *,
    version: int | None = None,
    mode: ScoreMode = "champion",
    shards: int | None = None,
    report: ValidationReport | None = None,
    around: Around = nullcontext,
) -> PublishedPartition:
    """Run the steps of a score in order, in this process, up to the publication.

    When a step fails or is interrupted, the staging tables of the attempt are dropped, and the former rows stay.

    Parameters
    ----------
    version, mode, shards
        See `validate_partition` and `plan_partition`.
    report : ValidationReport, optional
        The period's validation, when it was done before; then its version scores.
    around : callable, optional
        Called with each `Step`; the step runs within the context manager that it returns.

    Raises
    ------
    SluiceError
        The error of the step that failed.
    """
    values: dict[str, Any] = {"run_id": run_id, "period": period, "version": version, "mode": mode, "shards": shards}
    values |= {"try_number": 1, "report": report}
    try:
        for step in SCORE:
            if step.gives == "report" and report is not None:
                continue
            with around(step):
                values[step.gives] = _run_shards(step, spec, values, resources)
            if step.name == "publish":
                break
    except (SluiceError, KeyboardInterrupt):
        if "plan" in values:
            with suppress(SluiceError):  # fenced, or the database is down: then the successor cleans up
                abandon_partition(values["plan"], resources)
        raise
    published: PublishedPartition = values["published"]
    return published


def _run_shards(step: Step, spec: ModelSpec, values: dict[str, Any], resources: Resources) -> Any:
    """Run a step once, or once for each shard of the plan, if it is such a step."""
    if not step.each_shard:
        return run_step(step, spec, values, resources)
    plan: ScorePlan = values["plan"]
    staged: list[StagedShard] = [
        run_step(step, spec, {**values, "shard": shard}, resources) for shard in range(plan.shards)
    ]
    return staged


def check_late_rows(spec: ModelSpec, published: PublishedPartition, run_id: str, resources: Resources) -> LateRows:
    """Compare the partitions before a published one with their source, and do what `Scoring.late_rows` says.

    A partition is scored again as it was scored: by the champion at its end, the present champion, or the version that
    somebody named.

    Raises
    ------
    LateRowsError
        When a partition with late rows could not be scored again; its published rows stay.
    """

    def rescore(late: PublishedPartition) -> PublishedPartition:
        version = late.version if late.mode == "named" else None
        return score(spec, run_id, late.period, resources, version=version, mode=late.mode)

    return apply_policy(spec, published, run_id, resources, rescore)


def run_step(step: Step, spec: ModelSpec, values: dict[str, Any], resources: Resources) -> Any:
    """Call the function of `step` with those of `values` that it takes; return its result.

    Raises
    ------
    DeclarationChangedError
        When spec.py or features.sql is not what it was when the run began.
    """
    function, taken = globals()[step.function], {name: values[name] for name in step.takes}
    check_pinned(spec, taken.values())
    return function(spec=spec, resources=resources, **taken)
