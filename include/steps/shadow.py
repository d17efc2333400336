"""Shadow scoring: a challenger's scores are stored and compared, but not served."""

from __future__ import annotations

from include import scoring
from include.errors import ShadowBoundsError
from include.inference import check_bounds, load_scorer
from include.records import Period, PublishedPartition, ShadowDivergence
from include.registry import assign_shadow, assigned_shadow, read_divergences
from include.resources import Resources
from include.spec import ModelSpec


def set_challenger(model: str, version: int | None, actor: str, resources: Resources) -> None:
    """Set the version that scores every partition in shadow; None: no version."""
    if version is not None:
        resources.ledger.version(model, version)
    assign_shadow(resources.engine, model, version, actor)


def shadow_partition(
    spec: ModelSpec, published: PublishedPartition, run_id: str, resources: Resources
) -> ShadowDivergence | None:
    """Score a published partition with the challenger and measure the divergence; None without a challenger.

    The published rows are not changed.
    """
    version = assigned_shadow(resources.engine, spec.name)
    if version is None or version == published.version:
        return None
    scorer = _loaded(spec, version, resources).scorer
    period = Period(start=published.partition_start, end=published.partition_end)
    with resources.telemetry.step(spec.name, "shadow"), resources.features.read(spec, period, labelled=False) as rows:
        scoring.write_shadow(resources.engine, spec, published, version, scoring.score_batches(rows, spec, scorer))
        return scoring.measure_divergence(resources.engine, spec, published, version, run_id)


def shadow_requests(spec: ModelSpec, run_id: str, resources: Resources) -> ShadowDivergence | None:
    """Predict the requests sampled since the last run with the challenger, and measure the divergence.

    The champion's predictions are in the log, so requests take no longer, and the service is not called. Return None
    without a challenger, or when too few requests of the champion's version were sampled.

    Raises
    ------
    ChallengerIncompatibleError
        When the challenger cannot predict these requests.
    """
    version, champion = assigned_shadow(resources.engine, spec.name), resources.ledger.champion(spec.name)
    if version is None or champion is None or version == champion.to_version:
        return None
    with resources.telemetry.step(spec.name, "shadow_requests"):
        served, challenger = (_loaded(spec, each, resources) for each in (champion.to_version, version))
        return scoring.measure_sample(resources.engine, served, challenger, run_id)


def check_shadow_bounds(spec: ModelSpec, version: int, resources: Resources) -> None:
    """Check the latest divergence of a version against the declared bounds; it must have been measured.

    The newest divergence of each source is checked: of partitions, and of sampled requests if there are any.

    Raises
    ------
    ShadowBoundsError
        The message has a sentence for each broken bound.
    """
    bounds = spec.shadow
    if bounds is None or not bounds.bounded:
        return
    seen = read_divergences(resources.engine, spec.name, version)
    if not seen:
        why = f"it never scored in shadow (`sluice shadow set {spec.name} {version}`)"
        raise ShadowBoundsError(spec.name, version, [why])
    reasons = []
    for each in seen:
        reasons += [f"on {each.rows_of}: {held.description}" for held in check_bounds(bounds, each) if not held.passed]
        if each.refused_rows:
            reasons.append(f"of {each.rows_of} it refuses {each.refused_rows:,} rows that the champion answered")
    if reasons:
        raise ShadowBoundsError(spec.name, version, reasons)


def _loaded(spec: ModelSpec, version: int, resources: Resources) -> scoring.ComparedVersion:
    registered = resources.ledger.version(spec.name, version)
    artifact = resources.artifacts.open(spec.name, version, registered.artifact_digest)
    return scoring.ComparedVersion(version, load_scorer(artifact))
