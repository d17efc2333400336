"""READ FIRST: the life of a model, one function a step, in the order of the flow.

    retrain   validate_training_data → take_snapshot → train_candidate → export_candidate → check_parity
              (→ check_reproducibility, if declared) → evaluate_candidate → rehearse_candidate → weigh_candidate
              (→ answer_request, if declared) → promote_candidate
    score     validate_partition → plan_partition → score_shard, once a shard → publish_partition → watch_parity
              (score_partition: from the plan to the publication in one go)
              → shadow_partition, if declared
    operate   approve_version, choose_shadow, shadow_requests, move_champion
    audit     verify_version, explain_promotion, ml_test_score, attest

Each step takes records and returns a record: paths, digests and figures, never rows. So a step can
be run again by itself, in another process, and a DAG only wires them. The steps, in `include/steps/`,
alone compose the stages; no stage knows another.
"""

from __future__ import annotations

from include.resources import Resources, open_resources, open_trainer_resources
from include.steps.approve import answer_request, approve_version
from include.steps.audit import explain_promotion, verify_version
from include.steps.evaluate import evaluate_candidate
from include.steps.operate import move_champion
from include.steps.parity import watch_parity
from include.steps.rehearse import rehearse_candidate
from include.steps.retrain import (
    check_parity,
    check_reproducibility,
    export_candidate,
    promote_candidate,
    take_snapshot,
    train_candidate,
    validate_training_data,
    weigh_candidate,
)
from include.steps.score import (
    clean_staging,
    plan_partition,
    publish_partition,
    retire_partition,
    retire_partitions,
    score_partition,
    score_shard,
    validate_partition,
)
from include.steps.scorecard import attest, ml_test_score
from include.steps.shadow import choose_shadow, divergences, require_agreement, shadow_partition, shadow_requests

__all__ = [  # noqa: RUF022  # in the order of the flow, not of the alphabet
    # what the steps work with
    "Resources",
    "open_resources",
    "open_trainer_resources",
    # retrain
    "validate_training_data",
    "take_snapshot",
    "train_candidate",
    "export_candidate",
    "check_parity",
    "check_reproducibility",
    "evaluate_candidate",
    "rehearse_candidate",
    "weigh_candidate",
    "answer_request",
    "promote_candidate",
    # score
    "validate_partition",
    "plan_partition",
    "score_shard",
    "publish_partition",
    "watch_parity",
    "score_partition",
    "clean_staging",
    "retire_partitions",
    # operate
    "retire_partition",
    "approve_version",
    "choose_shadow",
    "shadow_partition",
    "shadow_requests",
    "divergences",
    "require_agreement",
    "move_champion",
    # audit
    "verify_version",
    "explain_promotion",
    "ml_test_score",
    "attest",
]
