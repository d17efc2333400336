"""Shadow scoring: a challenger's scores are stored and compared, but not served."""

from __future__ import annotations

from include import scoring
from include.errors import ShadowBoundsError
from include.inference import check_bounds
from include.records import PublishedPartition, ShadowDivergence
from include.registry import assign_shadow, assigned_shadow, read_divergences
from include.resources import Resources
from include.spec import ModelSpec
from include.steps.validation import require_contract
from include.steps.versions import open_version, require_fit

NO_SHADOW = "Nothing was scored in shadow; the champion and the published rows are as they were."


def set_challenger(
    model: str, version: int | None, actor: str, resources: Resources, spec: ModelSpec | None = None
) -> None:
    """Set the version that scores every partition in shadow; None: no version.

    Raises
    ------
    UnknownVersionError
        The message lists the existing versions.
    VersionIncompatibleError
        When, with `spec`, the version does not fit it, or the source as it is now does not answer its query.
    """
    if version is not None:
        registered = resources.ledger.version(model, version)
        if spec is not None:
            require_fit(spec, open_version(model, version, resources, registered.artifact_digest), resources, NO_SHADOW)
    assign_shadow(resources.engine, model, version, actor)


def shadow_partition(
    spec: ModelSpec, published: PublishedPartition, run_id: str, resources: Resources
) -> ShadowDivergence | None:
    """Score a published partition with the challenger and measure the divergence; None without a challenger.

    The challenger scores the rows that its own query gives, and both are compared by key. If its query or its features
    are not the champion's, its rows must pass the contract of its own features. The published rows are not changed.

    Raises
    ------
    VersionIncompatibleError
        When the challenger does not fit the declaration, or the source does not answer its query.
    ValidationFailedError
        When its rows break its contract.
    ReconciliationError
        When the challenger's rows lack a row that was published.
    """
    version = assigned_shadow(resources.engine, spec.name)
    if version is None or version == published.version:
        return None
    opened = require_fit(spec, open_version(spec.name, version, resources), resources, NO_SHADOW)
    period = published.period
    if opened.query != open_version(spec.name, published.version, resources).query:
        with scoring.database_errors(f"validation of model '{spec.name}' for version {version}, partition {period}"):
            require_contract(spec, period, "score", f"{run_id} shadow", resources, opened)
    with (
        resources.telemetry.step(spec.name, "shadow"),
        resources.features.read(opened.query, period, labelled=False) as rows,
    ):
        scored = scoring.score_batches(rows, opened.scorer)
        scoring.write_shadow(resources.engine, spec, published, version, opened.signature.classes, scored)
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
    return scoring.ComparedVersion(version, open_version(spec.name, version, resources).scorer)
