"""READ FIRST: the life of a model, one function a step, in the order of the flow.

    retrain   validate_training_data → take_snapshot → train_candidate → export_candidate → check_parity
              (→ check_reproducibility, if declared) → evaluate_candidate → rehearse_candidate → evaluate_gates
              (→ record_approval, if declared) → promote_candidate
    score     validate_partition → plan_partition → score_shard, once a shard → publish_partition → check_online_parity
              (score_partition: from the plan to the publication in one go)
              → shadow_partition, if declared
    operate   approve_version, set_challenger, shadow_requests, move_champion
    audit     verify_version, explain_promotion, ml_test_score, attest

Each step takes records and returns a record: paths, digests and figures, never rows. So a step can
be run again by itself, in another process, and a DAG only wires them. The steps, in `include/steps/`,
alone compose the stages; no stage knows another.
"""

from __future__ import annotations

from include.resources import Resources, open_resources, open_trainer_resources
from include.steps.approval import approve_version, record_approval
from include.steps.audit import explain_promotion, verify_version
from include.steps.evaluate import evaluate_candidate
from include.steps.online_parity import check_online_parity
from include.steps.operate import move_champion
from include.steps.rehearse import rehearse_candidate
from include.steps.retrain import (
    check_parity,
    check_reproducibility,
    evaluate_gates,
    export_candidate,
    promote_candidate,
    take_snapshot,
    train_candidate,
    validate_training_data,
)
from include.steps.score import (
    clean_staging,
    drop_expired_partitions,
    drop_partition,
    plan_partition,
    publish_partition,
    score_partition,
    score_shard,
    validate_partition,
)
from include.steps.scorecard import attest, ml_test_score
from include.steps.shadow import (
    check_shadow_bounds,
    latest_divergences,
    set_challenger,
    shadow_partition,
    shadow_requests,
)

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
    "evaluate_gates",
    "record_approval",
    "promote_candidate",
    # score
    "validate_partition",
    "plan_partition",
    "score_shard",
    "publish_partition",
    "check_online_parity",
    "score_partition",
    "clean_staging",
    "drop_expired_partitions",
    # operate
    "drop_partition",
    "approve_version",
    "set_challenger",
    "shadow_partition",
    "shadow_requests",
    "latest_divergences",
    "check_shadow_bounds",
    "move_champion",
    # audit
    "verify_version",
    "explain_promotion",
    "ml_test_score",
    "attest",
]
