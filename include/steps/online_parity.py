"""Online parity: analysts and clients must get the same predictions."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from include.errors import ParityMismatchError, ParityNotCheckedError, ServiceClientError
from include.records import (
    Alert,
    ParityCheck,
    ParityVerdict,
    Period,
    PublishedPartition,
    ScorePlan,
    StagedShard,
    as_argument,
)
from include.resources import Resources
from include.scoring import online_parity
from include.service_client import ServiceClient
from include.spec import ModelSpec
from include.steps.versions import open_version


def check_online_parity(spec: ModelSpec, published: PublishedPartition, resources: Resources) -> ParityCheck:
    """Compare a sample of a published partition with the running service, by the version that scored it.

    The result is stored. If the service cannot be reached, an alert is raised and the task does not fail: the scores
    are not affected.

    Raises
    ------
    ParityMismatchError
        When a prediction differs from the score by more than `Scoring.parity_ulp`.
    """
    period = published.period
    sample = online_parity.published_sample(resources.engine, spec, period, spec.scoring.parity_rows)
    check = _checked(spec, period, sample, published, resources, published=True)
    if check.verdict == "not_checked":
        resources.alerts.raise_alert(_alert(check, resources.clock()), spec.alert_channels)
    if check.verdict == "differs":
        raise _broken(check, "It is published; the former rows were replaced.")
    return check


def require_online_parity(
    spec: ModelSpec, plan: ScorePlan, staged: Sequence[StagedShard], resources: Resources
) -> ParityCheck | None:
    """Compare a sample of the staged rows with the running service, so that no wrong score is published.

    Return None when nothing is staged any more: the same run has published it, or a newer one has replaced it.

    Raises
    ------
    ParityMismatchError
        When a prediction differs from the score by more than `Scoring.parity_ulp`.
    ParityNotCheckedError
        When the service cannot be reached. Nothing is published then.
    """
    tables = [shard.table for shard in staged]
    sample = online_parity.staged_sample(resources.engine, spec, tables, spec.scoring.parity_rows)
    if sample is None:
        return None
    check = _checked(spec, plan.period, sample, plan, resources, published=False)
    if check.verdict == "not_checked":
        raise ParityNotCheckedError(_partition(check), str(check.reason))
    if check.verdict == "differs":
        raise _broken(check, "Nothing was published; the former rows stay.")
    return check


def _checked(
    spec: ModelSpec,
    period: Period,
    sample: online_parity.Scores,
    scored: ScorePlan | PublishedPartition,
    resources: Resources,
    *,
    published: bool,
) -> ParityCheck:
    service = ServiceClient.of(resources.settings)
    found, reason = online_parity.Distance(0, 0, None), None
    verdict: ParityVerdict = "equal"
    try:
        with resources.telemetry.step(spec.name, "parity_watch"):
            answers = _answers(spec, period, scored.version, list(sample), service, resources)
    except ServiceClientError as error:
        verdict, reason = "not_checked", str(error)
    else:
        found = online_parity.distance(sample, answers)
        if found.largest_ulp > spec.scoring.parity_ulp:
            verdict, reason = "differs", f"the row of key {found.worst!r} is {found.largest_ulp:,} ulp apart"
    check = ParityCheck(
        model=spec.name,
        partition_start=period.start,
        version=scored.version,
        artifact_digest=scored.artifact_digest,
        run_id=scored.run_id,
        verdict=verdict,
        rows=0 if verdict == "not_checked" else len(sample),
        differing=found.differing,
        largest_ulp=found.largest_ulp,
        allowed_ulp=spec.scoring.parity_ulp,
        service=service.address,
        reason=reason,
        published=published,
    )
    online_parity.store_check(resources.engine, check)
    resources.telemetry.count(f"{spec.name}.parity.{verdict}")
    return check


def _answers(
    spec: ModelSpec,
    period: Period,
    version: int,
    keys: list[str | int],
    service: ServiceClient,
    resources: Resources,
) -> dict[str | int, tuple[float, ...]]:
    """Return the service's prediction for each key's row, which is read from the source again."""
    if not keys:
        return {}
    opened = open_version(spec.name, version, resources)
    signature = opened.signature
    with resources.features.read(opened.query, period, labelled=False, keys=keys) as batches:
        table = batches.read_all()
    rows = list(zip(*(table.column(name).to_pylist() for name in signature.names), strict=True))
    found = table.column(signature.entity_key.column).to_pylist()
    missing = sorted(str(key) for key in set(keys) - set(found))
    if missing:
        raise ServiceClientError(
            service.address,
            "the scored rows to be still in the source",
            f"{len(missing)} missing, such as {missing[0]!r}",
        )
    return dict(zip(found, service.predict(spec.name, version, rows, spec.target.classes), strict=True))


def _broken(check: ParityCheck, what_became: str) -> ParityMismatchError:
    expected = (
        f"the service at {check.service} to answer {check.rows:,} sampled rows with version {check.version} "
        f"and equal to their scores within {check.allowed_ulp} ulp"
    )
    return ParityMismatchError(
        _partition(check), expected, f"{check.differing:,} that differ: {check.reason}", what_became
    )


def _partition(check: ParityCheck) -> str:
    return f"model '{check.model}', partition {check.partition_start:%Y-%m-%d %H:%M} UTC"


def _alert(check: ParityCheck, at: datetime) -> Alert:
    return Alert(
        model=check.model,
        dag_id=f"score_{check.model}",
        task_id="check_online_parity",
        run_id=check.run_id,
        try_number=None,
        error=f"{_partition(check)}: parity with the service was not checked: {check.reason}",
        log_url=None,
        at=at,
        kind="parity_not_checked",
        subject=as_argument(check.partition_start),
    )
