"""The champion moved: by a person, or by the flow that trains."""

from __future__ import annotations

from include.records import ModelVersion, Promotion
from include.resources import Resources
from include.spec import ModelSpec
from include.steps.approval import check_declaration
from include.steps.shadow import check_shadow_bounds


def move_champion(
    model: str, version: int, actor: str, reason: str, resources: Resources, spec: ModelSpec | None = None
) -> Promotion:
    """Promote, or roll back to, any registered version: a person's decision, with a reason.

    With the `spec`, a version that was never champion is held against the bounds of its shadow first, and where the
    model asks for approvals, against the declaration: ApprovalVoidError says that it changed since the evidence was
    gathered, ApprovalRequiredError what is missing. A former champion needs neither.
    UnknownVersionError lists the versions that exist; PromotionConflictError names who moved the champion first.
    """
    registered = resources.ledger.version(model, version)
    champion = resources.ledger.champion(model)
    if spec is not None and all(each.to_version != version for each in resources.ledger.promotions(model)):
        if spec.approval is not None:
            check_declaration(spec, registered)
        check_shadow_bounds(spec, version, resources)
    return promote(registered, champion, champion.sequence if champion else 0, actor, reason, resources)


def promote(
    version: ModelVersion,
    champion: Promotion | None,
    expected_sequence: int,
    actor: str,
    reason: str,
    resources: Resources,
) -> Promotion:
    """Move the champion from `expected_sequence` to `version`, unless `champion`, as just read, is that version.

    Its artifact is checked first: nobody becomes champion whom every service would refuse to load.
    """
    if champion is not None and champion.to_version == version.version:
        return champion
    model = version.model
    resources.artifacts.open(model, version.version, version.artifact_digest)
    promotion = resources.ledger.promote(
        model,
        version.version,
        actor=actor,
        reason=reason,
        evidence_digest=version.evidence_digest,
        expected_sequence=expected_sequence,
    )
    resources.telemetry.count(f"{model}.promotions")
    return promotion
