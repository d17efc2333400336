"""A period's rows held against the model's data contract: what training and scoring both begin with."""

from __future__ import annotations

from include import validation
from include.errors import ValidationFailedError
from include.records import Period, Purpose, ValidationReport
from include.resources import Resources
from include.spec import ModelSpec


def validate(spec: ModelSpec, period: Period, purpose: Purpose, run_id: str, resources: Resources) -> ValidationReport:
    """Check, store what was found, and raise ValidationFailedError when a rule was broken."""
    with resources.telemetry.step(spec.name, f"validate_{purpose}"):
        report = validation.validate(
            spec,
            period,
            purpose=purpose,
            run_id=run_id,
            database_url=resources.database_url,
            docs_dir=resources.settings.docs_dir,
        )
        validation.store_report(resources.engine, report)
        if not report.passed:
            reasons = [failure.sentence for failure in report.failures]
            raise ValidationFailedError(spec.name, str(period), reasons, report.docs_path)
    return report
