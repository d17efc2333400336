"""A challenger in the shadow of the champion: its scores are stored and compared, and serve nobody."""

from __future__ import annotations

from include import scoring
from include.errors import ShadowBoundsError
from include.inference import check_bounds, load_scorer
from include.records import Period, PublishedPartition, ShadowDivergence
from include.registry import assign_shadow, assigned_shadow, read_divergences
from include.resources import Resources
from include.spec import ModelSpec
from include.warehouse.rows import open_rows, rows_query


def set_challenger(model: str, version: int | None, actor: str, resources: Resources) -> None:
    """Have a registered version score every partition beside the champion from now on; None: none any more."""
    if version is not None:
        resources.ledger.version(model, version)
    assign_shadow(resources.engine, model, version, actor)


def shadow_partition(
    spec: ModelSpec, published: PublishedPartition, run_id: str, resources: Resources
) -> ShadowDivergence | None:
    """Score a published partition with the challenger and measure how far it is; None when there is no challenger.

    What was published is neither touched nor waited for: it is there already.
    """
    version = assigned_shadow(resources.engine, spec.name)
    if version is None or version == published.version:
        return None
    scorer = _loaded(spec, version, resources).scorer
    period = Period(start=published.partition_start, end=published.partition_end)
    query = rows_query(spec, period, labelled=False)
    with resources.telemetry.step(spec.name, "shadow"), open_rows(resources.database_url, query) as rows:
        scoring.write_shadow(resources.engine, spec, published, version, scoring.score_batches(rows, spec, scorer))
        return scoring.measure_divergence(resources.engine, spec, published, version, run_id)


def shadow_requests(spec: ModelSpec, run_id: str, resources: Resources) -> ShadowDivergence | None:
    """Answer the requests that the service sampled since the last look with the challenger, and measure how far it is.

    What clients got stands in the log already, so nothing is added to a request, and nothing is asked of the
    service. None when there is no challenger, or too few requests of the champion's version were sampled yet.

    Raises
    ------
    ChallengerIncompatibleError
        When the challenger cannot answer what the champion was asked.
    """
    version, champion = assigned_shadow(resources.engine, spec.name), resources.ledger.champion(spec.name)
    if version is None or champion is None or version == champion.to_version:
        return None
    with resources.telemetry.step(spec.name, "shadow_requests"):
        asked, answering = (_loaded(spec, each, resources) for each in (champion.to_version, version))
        return scoring.measure_sample(resources.engine, asked, answering, run_id)


def latest_divergences(model: str, version: int, resources: Resources) -> tuple[ShadowDivergence, ...]:
    """Return what was last measured of a version in the shadow, on a partition and on sampled requests."""
    return read_divergences(resources.engine, model, version)


def check_shadow_bounds(spec: ModelSpec, version: int, resources: Resources) -> None:
    """Hold a version against the declared bounds of its shadow, as last measured; never measured is a refusal.

    The newest of each source counts: of partitions, and of sampled requests where there are any.

    Raises
    ------
    ShadowBoundsError
        With a sentence for each bound that was passed.
    """
    bounds = spec.shadow
    if bounds is None or not bounds.bounded:
        return
    seen = read_divergences(resources.engine, spec.name, version)
    if not seen:
        why = f"it never scored in the shadow (`sluice shadow set {spec.name} {version}`)"
        raise ShadowBoundsError(spec.name, version, [why])
    reasons = []
    for each in seen:
        reasons += [f"on {each.rows_of} {held.description}" for held in check_bounds(bounds, each) if not held.passed]
        if each.refused_rows:
            reasons.append(f"of {each.rows_of} it refuses {each.refused_rows:,} rows that the champion answered")
    if reasons:
        raise ShadowBoundsError(spec.name, version, reasons)


def _loaded(spec: ModelSpec, version: int, resources: Resources) -> scoring.ComparedVersion:
    registered = resources.ledger.version(spec.name, version)
    artifact = resources.artifacts.open(spec.name, version, registered.artifact_digest)
    return scoring.ComparedVersion(version, load_scorer(artifact))
