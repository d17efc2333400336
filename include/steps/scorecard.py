"""The ML Test Score of a model's champion: collects the input of `include.evidence.scorecard`."""

from __future__ import annotations

from include import validation
from include.errors import NoChampionError, SluiceError
from include.evidence import read_pack
from include.evidence.scorecard import ITEMS, ScoreCard, ScoreCardInput, score_card
from include.reasons import check_reason
from include.records import Attestation
from include.registry import EVIDENCE
from include.registry.attestations import Attestations
from include.resources import Resources


def ml_test_score(model: str, resources: Resources) -> tuple[ScoreCard, tuple[str, ...]]:
    """Compute the score from the ledger, the champion's signed evidence and the signed statements.

    Returns
    -------
    ScoreCard
    tuple of str
        The reason for each statement that is not valid.

    Raises
    ------
    NoChampionError
        When the model has no champion.
    ArtifactError
        When the champion's artifact was changed, so that its evidence proves nothing.
    """
    champion = resources.ledger.champion(model)
    if champion is None:
        raise NoChampionError(model)
    registered = resources.ledger.version(model, champion.to_version)
    artifact = resources.artifacts.open(model, registered.version, registered.artifact_digest)
    gathered = ScoreCardInput(
        model=model,
        version=registered.version,
        pack=read_pack(artifact.read(EVIDENCE)) if EVIDENCE in artifact.digests else None,
        promotions=resources.ledger.promotions(model),
        validations={
            purpose: f"sluice.validation_result, purpose {purpose}, run {found.run_id}: {found.checks} checks passed"
            for purpose, found in validation.passed_validations(resources.engine, model).items()
        },
    )
    attestations = Attestations(resources.engine, resources.artifacts.keys)
    newest = attestations.newest(model)
    faults = {test: fault for test, each in newest.items() if (fault := attestations.verify(each)) is not None}
    counted = {test: _as_text(each) for test, each in newest.items() if test not in faults}
    return score_card(gathered, counted), tuple(faults.values())


def attest(model: str, test: str, statement: str, actor: str, resources: Resources) -> Attestation:
    """Store a person's statement that `test` holds for `model`, signed, with the time.

    Raises
    ------
    SluiceError
        When the test is unknown; `ReasonError` when the statement is too short, see `include.reasons`.
    """
    known = {each.id for each in ITEMS}
    if test not in known:
        raise SluiceError(f"the ML Test Score has no test '{test}'; its tests are: {', '.join(sorted(known))}.")
    statement = check_reason(statement, "--statement")
    attestation = Attestation(model=model, test=test, statement=statement, actor=actor, attested_at=resources.clock())
    return Attestations(resources.engine, resources.artifacts.keys).add(attestation)


def _as_text(attestation: Attestation) -> str:
    return f"by hand, {attestation.attested_at:%Y-%m-%d}, {attestation.actor}: {attestation.statement}"
