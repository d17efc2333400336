"""Promotions: by a person, or by a retrain."""

from __future__ import annotations

from include.records import ModelVersion, Promotion
from include.resources import Resources
from include.spec import ModelSpec
from include.steps.approval import check_declaration
from include.steps.shadow import check_shadow_bounds
from include.steps.versions import NOT_PROMOTED, open_version, require_declared, require_source


def move_champion(
    model: str, version: int, actor: str, reason: str, resources: Resources, spec: ModelSpec | None = None
) -> Promotion:
    """Promote or roll back to a registered version, by a person's decision and with a reason.

    The source as it is now must answer the version's query. With `spec`, the version must fit it, and a version that
    was never champion must be within the bounds of its shadow. If the model needs approvals, its declaration must be
    unchanged, too. A former champion needs neither of these two.

    Raises
    ------
    UnknownVersionError
        The message lists the existing versions.
    VersionIncompatibleError
        When the version does not fit the declaration or the source as they are now; the message has the differences.
    ShadowBoundsError
        When the version is outside the bounds of its shadow.
    ApprovalVoidError
        When the declaration changed since the evidence was gathered.
    ApprovalRequiredError
        When a valid approval is missing.
    PromotionConflictError
        When the champion was changed meanwhile; the message names who did.
    """
    registered = resources.ledger.version(model, version)
    champion = resources.ledger.champion(model)
    if spec is not None and all(each.to_version != version for each in resources.ledger.promotions(model)):
        if spec.approval is not None:
            check_declaration(spec, registered)
        check_shadow_bounds(spec, version, resources)
    if champion is not None and (champion.to_version, champion.actor, champion.reason) == (version, actor, reason):
        return champion
    return _promote(registered, champion.sequence if champion else 0, actor, reason, resources, spec)


def promote(
    version: ModelVersion,
    champion: Promotion | None,
    expected_sequence: int,
    actor: str,
    reason: str,
    resources: Resources,
    spec: ModelSpec | None,
) -> Promotion:
    """Move the champion from `expected_sequence` to `version`, unless `champion`, as just read, is that version.

    The artifact is verified first, so that a version which no service would load does not become champion; and so is
    its fit to the declaration, if there is one, and to the source, so that the next partition can be scored.

    Raises
    ------
    ArtifactError, SignatureError
        When the artifact is not what was registered.
    VersionIncompatibleError
        When the version does not fit.
    """
    if champion is not None and champion.to_version == version.version:
        return champion
    return _promote(version, expected_sequence, actor, reason, resources, spec)


def _promote(
    version: ModelVersion,
    expected_sequence: int,
    actor: str,
    reason: str,
    resources: Resources,
    spec: ModelSpec | None,
) -> Promotion:
    model = version.model
    opened = open_version(model, version.version, resources, version.artifact_digest)
    if spec is not None:
        require_declared(spec, opened, NOT_PROMOTED)
    require_source(opened, resources, NOT_PROMOTED)
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
