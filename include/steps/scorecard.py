"""The ML Test Score of a model's champion: facts gathered here, weighed in `include.evidence.scorecard`."""

from __future__ import annotations

from sqlalchemy import text

from include.errors import NoChampionError, SluiceError
from include.evidence import read_pack
from include.evidence.scorecard import ITEMS, ScoreCard, ScoreCardInput, score_card
from include.records import Attestation
from include.registry import EVIDENCE
from include.registry.attestations import Attestations
from include.resources import Resources

_VALIDATIONS = """
    SELECT DISTINCT ON (purpose) purpose, run_id, period_start, count(*) AS checks, max(checked_at) AS at
    FROM sluice.validation_result WHERE model = :model
    GROUP BY purpose, run_id, period_start HAVING bool_and(passed) ORDER BY purpose, at DESC
"""


def ml_test_score(model: str, resources: Resources) -> tuple[ScoreCard, tuple[str, ...]]:
    """Compute the score from what the ledger, the champion's signed evidence and signed statements show.

    Returns
    -------
    ScoreCard
    tuple of str
        Why statements that there are do not count.

    Raises
    ------
    NoChampionError
        When the model has no champion to judge.
    ArtifactError
        When the champion's artifact is not what was registered: its evidence proves nothing then.
    """
    champion = resources.ledger.champion(model)
    if champion is None:
        raise NoChampionError(model)
    registered = resources.ledger.version(model, champion.to_version)
    artifact = resources.artifacts.open(model, registered.version, registered.artifact_digest)
    facts = ScoreCardInput(
        model=model,
        version=registered.version,
        pack=read_pack(artifact.read(EVIDENCE)) if EVIDENCE in artifact.digests else None,
        promotions=resources.ledger.promotions(model),
        validations=_validations(model, resources),
    )
    attestations = Attestations(resources.engine, resources.artifacts.keys)
    said = attestations.newest(model)
    faults = {test: fault for test, each in said.items() if (fault := attestations.verify(each)) is not None}
    counted = {test: _words(each) for test, each in said.items() if test not in faults}
    return score_card(facts, counted), tuple(faults.values())


def attest(model: str, test: str, statement: str, actor: str, resources: Resources) -> Attestation:
    """Keep a person's statement that `test` holds for `model`, signed, with the time.

    Raises
    ------
    SluiceError
        When there is no such test, or nothing is said.
    """
    known = {each.id for each in ITEMS}
    if test not in known:
        raise SluiceError(f"no test of the ML Test Score is named '{test}'; there are: {', '.join(sorted(known))}.")
    if not statement.strip():
        raise SluiceError("--statement: expected what was done and where it is written down; found nothing. Say it.")
    said = Attestation(model=model, test=test, statement=statement.strip(), actor=actor, attested_at=resources.clock())
    return Attestations(resources.engine, resources.artifacts.keys).add(said)


def _words(said: Attestation) -> str:
    return f"by hand, {said.attested_at:%Y-%m-%d}, {said.actor}: {said.statement}"


def _validations(model: str, resources: Resources) -> dict[str, str]:
    """Say where the newest run stands whose every check passed, by purpose."""
    with resources.engine.connect() as connection:
        rows = connection.execute(text(_VALIDATIONS), {"model": model}).mappings()
        return {
            row["purpose"]: f"sluice.validation_result, purpose {row['purpose']}, run {row['run_id']}: "
            f"{row['checks']} checks passed"
            for row in rows
        }
