"""Promotions, by a person or by a retrain, and holds of those by a retrain."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime

from include.errors import CandidateRejectedError, HoldError, PromotionConflictError, UnknownModelError
from include.models import DeclaredModels
from include.reasons import check_reason
from include.records import ModelVersion, Promotion, PromotionHold
from include.registry import active_hold, lift_hold, rollback_target, set_hold, standing_champions
from include.resources import Resources
from include.spec import ModelSpec
from include.steps.approval import check_declaration
from include.steps.shadow import check_shadow_bounds
from include.steps.versions import NOT_PROMOTED, open_version, require_declared, require_source

log = logging.getLogger(__name__)


def move_champion(
    model: str,
    version: int,
    actor: str,
    reason: str,
    resources: Resources,
    spec: ModelSpec | None = None,
    *,
    force: bool = False,
) -> Promotion:
    """Promote or roll back to a registered version, by a person's decision and with a reason.

    A hold of promotions does not stop a person, and neither do older data. Going back to an earlier champion that
    stands is a rollback: it holds promotions from then on, see `roll_back`.

    The source as it is now must answer the version's query. With `spec`, the version must fit it, and a version that
    was never champion must be within the bounds of its shadow. If the model needs approvals, its declaration must be
    unchanged, too. A former champion needs neither of these two.

    Parameters
    ----------
    force : bool
        Whether the person knows that gates rejected the version, and promotes it all the same. A version that stands,
        see `registry.standing_champions`, is a way back and needs no force.

    Raises
    ------
    ReasonError
        When the reason is too short; see `include.reasons`.
    UnknownVersionError
        The message lists the existing versions.
    CandidateRejectedError
        When gates rejected the version, without `force`; the message names them.
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
    reason = check_reason(reason)
    registered = resources.ledger.version(model, version)
    promotions = resources.ledger.promotions(model)
    moved = [each.to_version for each in promotions]
    if not registered.decision.accepted and not force and version not in standing_champions(moved):
        raise CandidateRejectedError(model, version, registered.decision.failures)
    if spec is not None and version not in moved:
        if spec.approval is not None:
            check_declaration(spec, registered)
        check_shadow_bounds(spec, version, resources)
    return _move(registered, promotions, actor, reason, resources, spec)


def roll_back(
    model: str,
    version: int | None,
    actor: str,
    reason: str,
    resources: Resources,
    spec: ModelSpec | None = None,
) -> Promotion:
    """Make the champion before the present one champion again, or an earlier one that a person names.

    Rolling back again goes further back, never forward to a version that was rolled back. In the same transaction,
    promotions are held until somebody lifts the hold: otherwise the next retrain could promote again what was rolled
    back.

    Raises
    ------
    NoChampionError, RollbackTargetError
        See `registry.rollback_target`.
    CandidateRejectedError
        When the named version was never champion, and gates rejected it.
    ReasonError, UnknownVersionError, VersionIncompatibleError, PromotionConflictError
        See `move_champion`.
    """
    reason = check_reason(reason)
    promotions = resources.ledger.promotions(model)
    if version is not None:
        named = resources.ledger.version(model, version)
        if not named.decision.accepted and all(each.to_version != version for each in promotions):
            raise CandidateRejectedError(model, version, named.decision.failures)
    target = resources.ledger.version(model, rollback_target(model, promotions, version))
    return _move(target, promotions, actor, reason, resources, spec)


def hold_promotions(
    model: str, actor: str, reason: str, resources: Resources, models: DeclaredModels, until: datetime | None = None
) -> PromotionHold:
    """Let no retrain promote a version of the model: it registers and judges, until a time or until the hold is lifted.

    A hold that is in force is replaced. Shadows, approvals and the promotions of a person go on as before.

    Parameters
    ----------
    until : datetime, optional
        When the hold ends; by default when somebody lifts it.

    Raises
    ------
    ReasonError
        When the reason is too short; see `include.reasons`.
    UnknownModelError
        When the model is neither declared nor registered.
    HoldError
        When `until` is not in the future.
    """
    reason = check_reason(reason)
    _require_known(model, resources, models)
    return set_hold(resources.engine, model, actor, reason, until)


def release_hold(model: str, actor: str, reason: str, resources: Resources, models: DeclaredModels) -> PromotionHold:
    """Lift the hold of the model's promotions, and return it. What was registered meanwhile stays unpromoted.

    Raises
    ------
    ReasonError
        When the reason is too short; see `include.reasons`.
    UnknownModelError
        When the model is neither declared nor registered.
    HoldError
        When no hold is in force: there was none, or it has ended.
    """
    reason = check_reason(reason)
    _require_known(model, resources, models)
    lifted = lift_hold(resources.engine, model, actor, reason)
    if lifted is None:
        raise HoldError(
            model, "a hold in force", "none: it was never set, was lifted or has ended", "`sluice status` shows holds."
        )
    return lifted


def _require_known(model: str, resources: Resources, models: DeclaredModels) -> None:
    broken = {error.file.parent.name for error in models.broken}
    if model not in models.specs and model not in broken and not resources.ledger.version_numbers(model):
        raise UnknownModelError(model, sorted(models.specs))


def promote(
    version: ModelVersion,
    champion: Promotion | None,
    expected_sequence: int,
    actor: str,
    reason: str,
    resources: Resources,
    spec: ModelSpec | None,
    *,
    allow_older: bool = False,
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
    PromotionHeldError, OlderDataError
        See `include.registry.Ledger.promote`.
    """
    if champion is not None and champion.to_version == version.version:
        return champion
    try:
        return _promote(version, expected_sequence, actor, reason, resources, spec, allow_older=allow_older)
    except PromotionConflictError as lost:
        winner = resources.ledger.champion(version.model)
        if winner is None or (winner.to_version, winner.sequence) != (version.version, lost.sequence):
            raise
        return winner  # another run has promoted the same version


def _move(
    registered: ModelVersion,
    promotions: Sequence[Promotion],
    actor: str,
    reason: str,
    resources: Resources,
    spec: ModelSpec | None,
) -> Promotion:
    """Promote by a person's decision, from the champion that was read. The same decision again changes nothing."""
    champion = promotions[-1] if promotions else None
    if champion is not None and (champion.to_version, champion.actor, champion.reason) == (
        registered.version, actor, reason,
    ):  # fmt: skip
        return champion
    sequence = champion.sequence if champion else 0
    back = registered.version in standing_champions(each.to_version for each in promotions)[:-1]
    promotion = _promote(registered, sequence, actor, reason, resources, spec, by_name=True, hold=back)
    if hold := active_hold(resources.engine, registered.model):
        log.info("%s: this promotion by name went ahead, and no retrain promotes a version.", hold.sentence)
    return promotion


def _promote(
    version: ModelVersion,
    expected_sequence: int,
    actor: str,
    reason: str,
    resources: Resources,
    spec: ModelSpec | None,
    *,
    by_name: bool = False,
    allow_older: bool = False,
    hold: bool = False,
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
        by_name=by_name,
        allow_older=allow_older,
        hold=hold,
    )
    resources.telemetry.count(f"{model}.promotions")
    return promotion
