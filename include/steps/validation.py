"""The first step of both flows: a check of a period's rows against the model's data contract."""

from __future__ import annotations

from datetime import datetime

from include import scoring, training, validation
from include.errors import ValidationFailedError, WrongPeriodError
from include.records import Period, Purpose, ValidationReport
from include.resources import Resources
from include.schedule import is_partition, partition_containing
from include.spec import ModelSpec


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
        report = _validate(spec, period, "train", run_id, resources)
    training.require_budget(spec, report.rows, resources.settings.train_memory_mib)
    return report


def validate_partition(spec: ModelSpec, run_id: str, period: Period, resources: Resources) -> ValidationReport:
    """Check the rows of one partition.

    Raises
    ------
    WrongPeriodError
        When the period is neither a partition of the schedule nor one that was published under a former schedule.
    ValidationFailedError
        When the data break the contract.
    """
    with scoring.database_errors(f"validation of model '{spec.name}', partition {period}"):
        _require_partition(spec, period, resources)
        return _validate(spec, period, "score", run_id, resources)


def _require_partition(spec: ModelSpec, period: Period, resources: Resources) -> None:
    if is_partition(spec.score_schedule, period, timezone=spec.score_timezone):
        return
    published = resources.ledger.published_partitions(spec.name)
    if period not in [Period(start=each.partition_start, end=each.partition_end) for each in published]:
        expected = partition_containing(spec.score_schedule, period.start, timezone=spec.score_timezone)
        raise WrongPeriodError(spec.name, str(period), str(expected))


def _validate(spec: ModelSpec, period: Period, purpose: Purpose, run_id: str, resources: Resources) -> ValidationReport:
    """Check the rows and store the report; raise only after it is stored."""
    with resources.telemetry.step(spec.name, f"validate_{purpose}"):
        report = validation.validate(
            spec,
            period,
            purpose=purpose,
            run_id=run_id,
            database_url=resources.database_url,
            materialize=resources.features.materialize,
            docs_dir=resources.settings.docs_dir,
        )
        validation.store_report(resources.engine, report)
        if not report.passed:
            reasons = [failure.sentence for failure in report.failures]
            raise ValidationFailedError(spec.name, str(period), reasons, report.docs_path)
    return report
