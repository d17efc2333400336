"""A challenger in the shadow of the champion: its scores are stored and compared, and serve nobody."""

from __future__ import annotations

from include import scoring
from include.errors import ShadowDisagreesError
from include.inference import hold_to, load_scorer
from include.records import Period, PublishedPartition, ShadowDivergence
from include.registry import last_divergence, set_shadow, shadow_of
from include.resources import Resources
from include.spec import ModelSpec
from include.warehouse.rows import open_rows, rows_query


def choose_shadow(model: str, version: int | None, actor: str, resources: Resources) -> None:
    """Have a registered version score every partition beside the champion from now on; None: none any more."""
    if version is not None:
        resources.ledger.version(model, version)
    set_shadow(resources.engine, model, version, actor)


def shadow_partition(
    spec: ModelSpec, published: PublishedPartition, run_id: str, resources: Resources
) -> ShadowDivergence | None:
    """Score a published partition with the challenger and measure how far it is; None when there is no challenger.

    What was published is neither touched nor waited for: it is there already.
    """
    version = shadow_of(resources.engine, spec.name)
    if version is None or version == published.version:
        return None
    registered = resources.ledger.version(spec.name, version)
    scorer = load_scorer(resources.artifacts.verified(spec.name, version, registered.artifact_digest))
    period = Period(start=published.partition_start, end=published.partition_end)
    query = rows_query(spec, period, labelled=False)
    with resources.telemetry.step(spec.name, "shadow"), open_rows(resources.database_url, query) as rows:
        scoring.write_shadow(resources.engine, spec, published, version, scoring.score_batches(rows, spec, scorer))
        return scoring.measure_divergence(resources.engine, spec, published, version, run_id)


def require_agreement(spec: ModelSpec, version: int, resources: Resources) -> None:
    """Hold a version against the declared bounds of its shadow, as last measured; never measured is a refusal.

    Raises
    ------
    ShadowDisagreesError
        With a sentence for each bound that was passed.
    """
    bounds = spec.shadow
    if bounds is None or not bounds.bounded:
        return
    seen = last_divergence(resources.engine, spec.name, version)
    if seen is None:
        why = f"it never scored in the shadow (`sluice shadow {spec.name} {version}`)"
        raise ShadowDisagreesError(spec.name, version, [why])
    reasons = [each.words for each in hold_to(bounds, seen) if not each.passed]
    if reasons:
        raise ShadowDisagreesError(spec.name, version, reasons)
