"""Audits: check that a version is unchanged, and show the evidence of a promotion."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from include.errors import ArtifactError, UnknownPromotionError
from include.evidence import EvidencePack, read_pack
from include.inference import check_golden, load_golden, load_scorer
from include.records import ApprovalDecision, AuditCheck, ModelVersion, Promotion, Record
from include.registry import EVIDENCE, VerifiedArtifact, is_rollback, read_approvals
from include.registry.audit import audit_version, run_check
from include.resources import Resources
from include.spec import QUERY_FILE


class PromotionAudit(Record):
    """All information about one promotion.

    `pack` is None when the artifact has no evidence pack or was changed; `checks` then contains the fault. `rollback`
    is whether the promotion restored an earlier champion.
    """

    promotion: Promotion
    version: ModelVersion
    until: Promotion | None
    approvals: tuple[ApprovalDecision, ...]
    checks: tuple[AuditCheck, ...]
    pack: EvidencePack | None
    rollback: bool


def verify_version(model: str, version: int, resources: Resources) -> Iterator[AuditCheck]:
    """Check a version: ledger, manifest, signature, files, golden rows, evidence, query, promotions.

    UnknownVersionError lists the existing versions; every other problem is reported as a failed check.
    """
    registered = resources.ledger.version(model, version)
    yield AuditCheck(
        name="ledger",
        passed=True,
        sentence=f"registered {registered.created_at:%Y-%m-%d %H:%M:%S} UTC by run {registered.run_id}",
    )
    yield from audit_version(resources.artifacts, registered)
    yield run_check("golden rows", lambda: _golden(_artifact(registered, resources)))
    yield run_check("evidence", lambda: _evidence(registered, _artifact(registered, resources)))
    yield run_check("query", lambda: _query(registered, _artifact(registered, resources), resources))
    for promotion in resources.ledger.promotions(model):
        if promotion.to_version == version:
            yield _decided_on(promotion, registered)


def explain_promotion(model: str, sequence: int, resources: Resources) -> PromotionAudit:
    """Return all information about the promotion with this sequence number.

    Raises
    ------
    UnknownPromotionError
        The message lists the existing sequence numbers.
    VersionDeletedError
        When the model was deleted since.
    """
    history = {each.sequence: each for each in resources.ledger.promotions(model, with_deleted=True)}
    if sequence not in history:
        raise UnknownPromotionError(model, sequence, sorted(history))
    promotion = history[sequence]
    registered = resources.ledger.version(model, promotion.to_version)
    checks = tuple(verify_version(model, promotion.to_version, resources))
    try:
        artifact = _artifact(registered, resources)
        pack = read_pack(artifact.read(EVIDENCE)) if EVIDENCE in artifact.digests else None
    except ArtifactError:
        pack = None
    return PromotionAudit(
        promotion=promotion,
        version=registered,
        until=history.get(sequence + 1),
        approvals=tuple(each for each in read_approvals(resources.engine, model) if each.version == registered.version),
        checks=checks,
        pack=pack,
        rollback=is_rollback(
            promotion, [each for each in resources.ledger.promotions(model) if each.sequence < sequence]
        ),
    )


def _artifact(registered: ModelVersion, resources: Resources) -> VerifiedArtifact:
    return resources.artifacts.open(registered.model, registered.version, registered.artifact_digest)


def _golden(artifact: VerifiedArtifact) -> str:
    golden = load_golden(artifact)
    check_golden(load_scorer(artifact), golden)
    return f"{len(golden)} predicted bit for bit as recorded"


def _evidence(registered: ModelVersion, artifact: VerifiedArtifact) -> str:
    if EVIDENCE not in artifact.digests:
        raise ArtifactError(
            f"{EVIDENCE}: expected the evidence of the version's gates; found no such file in its artifact. "
            "Train the model again, or roll back to a version that has its evidence."
        )
    pack = read_pack(artifact.read(EVIDENCE))
    for name, found_value, wanted in (
        ("version", pack.version, registered.version),
        ("run", pack.run_id, registered.run_id),
        ("evaluation", pack.evaluation, registered.evaluation),
        ("decision", pack.decision, registered.decision),
        ("spec digest", pack.spec_digest, registered.spec_digest),
        ("data digest", pack.data_digest, registered.data_digest),
        ("files", pack.files, {name: artifact.digests.get(name) for name in pack.files}),
    ):
        if found_value != wanted:
            raise ArtifactError(
                f"evidence.json: {name}: expected what the ledger and the manifest hold; found another. "
                "One of them was changed after the registration: compare them with a backup."
            )
    return f"evidence.json has schema version {pack.schema_version} and agrees with the ledger"


def _query(registered: ModelVersion, artifact: VerifiedArtifact, resources: Resources) -> str:
    """Check that the published rows of the version were read with its own query."""
    digest = hashlib.sha256(artifact.read(QUERY_FILE)).hexdigest()
    published = [
        each for each in resources.ledger.published_partitions(registered.model) if each.version == registered.version
    ]
    for each in published:
        if each.query_digest != digest:
            raise ArtifactError(
                f"partition {each.partition_start:%Y-%m-%d %H:%M} UTC: expected rows that were read with the version's "
                f"{QUERY_FILE}, SHA-256 {digest}; found {each.query_digest}. Score the partition again: "
                f"`sluice backfill {registered.model} --version {registered.version} --from ... --to ...`."
            )
    return f"{QUERY_FILE} read the rows of all {len(published):,} published partitions that this version scored"


def _decided_on(promotion: Promotion, registered: ModelVersion) -> AuditCheck:
    digest = registered.evidence_digest
    same = promotion.evidence_digest == digest
    sentence = (
        f"its evidence digest {promotion.evidence_digest} was computed again and matches"
        if same
        else f"expected the evidence digest {promotion.evidence_digest}; computed again it is {digest}. "
        "The version's row was changed after the promotion, or the promotion was based on other evidence."
    )
    return AuditCheck(name=f"promotion {promotion.sequence}", passed=same, sentence=sentence)
