"""The ledger (versions and promotions) and the artifacts of its versions."""

from include.provenance import file_digest
from include.registry.approvals import read_approvals, store_approval
from include.registry.artifacts import (
    CARD,
    EVIDENCE,
    ArtifactStore,
    LocalArtifactStore,
    Manifest,
    VerifiedArtifact,
    open_artifact_store,
)
from include.registry.champions import is_rollback, rollback_target, standing_champions
from include.registry.deletions import (
    count_requests,
    no_registration,
    record_deletion,
    registered_models,
    remove_requests,
)
from include.registry.holds import active_hold, active_holds, lift_hold, set_hold
from include.registry.ledger import Ledger
from include.registry.retrain_lock import retrain_lock
from include.registry.shadow_assignments import assign_shadow, assigned_shadow, read_divergences

__all__ = [
    "CARD",
    "EVIDENCE",
    "ArtifactStore",
    "Ledger",
    "LocalArtifactStore",
    "Manifest",
    "VerifiedArtifact",
    "active_hold",
    "active_holds",
    "assign_shadow",
    "assigned_shadow",
    "count_requests",
    "file_digest",
    "is_rollback",
    "lift_hold",
    "no_registration",
    "open_artifact_store",
    "read_approvals",
    "read_divergences",
    "record_deletion",
    "registered_models",
    "remove_requests",
    "retrain_lock",
    "rollback_target",
    "set_hold",
    "standing_champions",
    "store_approval",
]
