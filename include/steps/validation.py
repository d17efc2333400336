"""The first step of both flows: a check of a period's rows against the model's data contract."""

from __future__ import annotations

from datetime import datetime

from include import scoring, training, validation
from include.errors import EmptyPartitionError, ValidationFailedError, WrongPeriodError
from include.records import Period, Purpose, ScoreMode, ValidationReport
from include.resources import Resources
from include.schedule import is_partition, partition_containing
from include.spec import ModelSpec
from include.steps.versions import NOT_SCORED, OpenedVersion, open_version, require_declared, resolve_version
from include.validation.contract import ROW_COUNT


def validate_training_data(spec: ModelSpec, run_id: str, as_of: datetime, resources: Resources) -> ValidationReport:
    """Check the training window.

    Raises
    ------
    ValidationFailedError
        When the data break the contract.
    TrainingBudgetError
        When the rows need more memory than the training may use.
    """
    period = training.split_by_time(spec, as_of).whole
    with scoring.database_errors(f"validation of model '{spec.name}', training window {period}"):
        report = require_contract(spec, period, "train", run_id, resources)
    training.require_budget(spec, report.rows, resources.settings.train_memory_mib)
    return report.model_copy(update={"spec_digest": spec.read_digest})


def validate_partition(
    spec: ModelSpec,
    run_id: str,
    period: Period,
    resources: Resources,
    version: int | None = None,
    mode: ScoreMode = "champion",
) -> ValidationReport:
    """Choose the version that scores a partition, and check the rows that its own query gives for its own features.

    Parameters
    ----------
    version : int, optional
        The version that scores; `mode` is then ``named``.
    mode : {"champion", "champion_then", "named"}
        The present champion, or the champion at the end of the partition.

    Raises
    ------
    WrongPeriodError
        When the period is neither a partition of the schedule nor one that was published under a former schedule.
    NoChampionError
        When no version is named and the model has no champion, or had none at that time (NoChampionAtTimeError).
    UnknownVersionError
        When the named version does not exist.
    VersionIncompatibleError
        When the version does not fit the declaration.
    EmptyPartitionError
        When the source has no rows, and the contract demands some or the partition has not ended.
    ValidationFailedError
        When the data break the contract.
    """
    with scoring.database_errors(f"validation of model '{spec.name}', partition {period}"):
        _require_partition(spec, period, resources)
        version, mode = resolve_version(spec, period, resources, version=version, mode=mode)
        opened = require_declared(spec, open_version(spec.name, version, resources), NOT_SCORED)
        report = require_contract(spec, period, "score", run_id, resources, opened)
    return report.model_copy(update={"version": version, "mode": mode, "spec_digest": spec.read_digest})


def find_broken_rules(
    spec: ModelSpec,
    period: Period,
    resources: Resources,
    version: int | None = None,
    mode: ScoreMode = "champion",
) -> tuple[str, ...]:
    """Look whether a partition meets the contract at this moment; store nothing.

    Returns
    -------
    tuple of str
        The rules that its rows break, as `validate_partition` would say them; none: it can be scored.

    Raises
    ------
    SluiceError
        As `validate_partition`, without ValidationFailedError.
    """
    with scoring.database_errors(f"look at model '{spec.name}', partition {period}"):
        _require_partition(spec, period, resources)
        chosen, _ = resolve_version(spec, period, resources, version=version, mode=mode)
        opened = require_declared(spec, open_version(spec.name, chosen, resources), NOT_SCORED)
        return validation.find_broken_rules(
            spec,
            period,
            database_url=resources.database_url,
            materialize=resources.features.materialize,
            query=opened.query,
        )


def _require_rows(spec: ModelSpec, report: ValidationReport, resources: Resources) -> None:
    """Refuse a partition without rows, unless it has ended and the contract allows it."""
    ended = report.period.end <= resources.clock()
    only_rows = all(failure.expectation == ROW_COUNT for failure in report.failures)
    if report.rows or not only_rows or (report.passed and ended):
        return
    min_rows, _ = spec.contract.partition_rows
    raise EmptyPartitionError(spec.name, str(report.period), min_rows, ended=ended, docs=report.docs_path)


def has_champion(spec: ModelSpec, period: Period, resources: Resources) -> bool:
    """Return whether the model had a champion at the end of a partition, which scores it in a scheduled run."""
    with scoring.database_errors(f"look at model '{spec.name}', partition {period}"):
        return resources.ledger.champion_at(spec.name, period.end) is not None


def _require_partition(spec: ModelSpec, period: Period, resources: Resources) -> None:
    if is_partition(spec.score_schedule, period, timezone=spec.score_timezone):
        return
    published = resources.ledger.published_partitions(spec.name)
    if period not in [each.period for each in published]:
        expected = partition_containing(spec.score_schedule, period.start, timezone=spec.score_timezone)
        raise WrongPeriodError(spec.name, str(period), str(expected))


def require_contract(
    spec: ModelSpec,
    period: Period,
    purpose: Purpose,
    run_id: str,
    resources: Resources,
    opened: OpenedVersion | None = None,
) -> ValidationReport:
    """Check the rows of a period and store the report.

    Parameters
    ----------
    opened : OpenedVersion, optional
        The version whose query and features are checked; by default those of the declaration.

    Raises
    ------
    ValidationFailedError
        When the data break the contract, after the report is stored.
    """
    with resources.telemetry.step(spec.name, f"validate_{purpose}"):
        report = validation.validate(
            spec,
            period,
            purpose=purpose,
            run_id=run_id,
            database_url=resources.database_url,
            materialize=resources.features.materialize,
            docs_dir=resources.settings.docs_dir,
            query=opened.query if opened else None,
        )
        validation.store_report(resources.engine, report)
        if purpose == "score":
            _require_rows(spec, report, resources)
        if not report.passed:
            reasons = [failure.sentence for failure in report.failures]
            raise ValidationFailedError(
                spec.name, str(period), reasons, report.docs_path, opened.version if opened else None
            )
    return report
