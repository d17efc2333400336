"""Gates on the training and holdout rows."""

from __future__ import annotations

from fnmatch import fnmatchcase

from include.evaluation.gates.base import evaluate_gate, not_measured, result
from include.records import Evidence, FeatureStrength, GateResult
from include.spec import (
    DataFreshness,
    ForbiddenColumns,
    HoldoutReuse,
    MinimumLabels,
    NoConstantFeature,
    NoLeakage,
    TrainingServingSkew,
)

NOT_CHECKED = "the evaluation contains no checks of its rows"


@evaluate_gate.register
def _minimum_labels(gate: MinimumLabels, evidence: Evidence) -> GateResult:
    evaluation = evidence.evaluation
    passed = evaluation.rows >= gate.rows
    found, limits = f"holdout: {evaluation.rows:,} labelled rows", f"minimum {gate.rows:,}"
    if gate.per_class:
        rarest = min(evaluation.class_rows, key=lambda label: evaluation.class_rows[label], default=None)
        count = 0 if rarest is None else evaluation.class_rows[rarest]
        passed = passed and count >= gate.per_class
        found += f", {count:,} of class {rarest}" if rarest is not None else ", classes not counted"
        limits += f", and {gate.per_class:,} of every class"
    return result(
        gate.kind, "rows", float(evaluation.rows), float(gate.rows), passed=passed, found=found, limits=limits
    )


@evaluate_gate.register
def _data_freshness(gate: DataFreshness, evidence: Evidence) -> GateResult:
    evaluation, metric = evidence.evaluation, "age of the newest row"
    if evaluation.data is None or evaluation.data.newest is None or evaluation.holdout is None:
        return not_measured(gate.kind, metric, gate.max_age.total_seconds(), NOT_CHECKED)
    age = evaluation.holdout.end - evaluation.data.newest
    return result(
        gate.kind, "age in seconds", age.total_seconds(), gate.max_age.total_seconds(), passed=age <= gate.max_age,
        found=f"newest row: {evaluation.data.newest:%Y-%m-%d %H:%M} UTC, {age} before the end of the holdout",
        limits=f"limit {gate.max_age}",
    )  # fmt: skip


@evaluate_gate.register
def _no_constant_feature(gate: NoConstantFeature, evidence: Evidence) -> GateResult:
    data, metric = evidence.evaluation.data, "constant features"
    if data is None:
        return not_measured(gate.kind, metric, 0.0, NOT_CHECKED)
    constant = {name: where for name, where in data.constant.items() if name not in gate.allowed}
    named = ", ".join(f"{name} (in all {where} rows)" for name, where in constant.items())
    found = f"constant features: {len(constant)} of {len(data.features)}" + (f": {named}" if constant else "")
    advice = "limit 0; correct the source" if constant else "limit 0"
    return result(gate.kind, metric, float(len(constant)), 0.0, passed=not constant, found=found, limits=advice)


@evaluate_gate.register
def _no_leakage(gate: NoLeakage, evidence: Evidence) -> GateResult:
    data, metric = evidence.evaluation.data, "strength of a single feature"
    if data is None or not data.strengths:
        return not_measured(gate.kind, metric, gate.max_strength, NOT_CHECKED)
    checked = [each for each in data.strengths if each.feature not in gate.allowed]
    leaking = [each for each in checked if _is_too_strong(each, gate.max_strength)]
    dropping = max((each for each in checked if _drop(each) > gate.max_drop), key=_drop, default=None)
    strongest = max(checked, key=_strength, default=None)
    value = _strength(strongest) if strongest else 0.0
    limits = f"limit below {gate.max_strength:g}"
    if leaking:
        names = ", ".join(f"{each.feature} {_strength(each):.4f}" for each in leaking)
        found = f"possible label leakage, strength of single features: {names}"
    elif dropping is not None:
        found = (
            f"possible label leakage, strength of {dropping.feature}: at least {_low(dropping):.4f} in the training "
            f"period, {dropping.holdout:.4f} after it, drop {_drop(dropping):.4f}"
        )
        limits = f"limit {gate.max_drop:g}; the feature may be written or corrected after the event"
    else:
        found = f"strongest single feature: {strongest.feature if strongest else 'none'} {value:.4f}"
        if strongest and value >= gate.max_strength:
            found += f" (95% lower bound {strongest.holdout_low:.4f})"
    passed = not leaking and dropping is None
    return result(gate.kind, metric, value, gate.max_strength, passed=passed, found=found, limits=limits)


@evaluate_gate.register
def _forbidden_columns(gate: ForbiddenColumns, evidence: Evidence) -> GateResult:
    data, metric = evidence.evaluation.data, "forbidden features"
    if data is None:
        return not_measured(gate.kind, metric, 0.0, NOT_CHECKED)
    forbidden = [name for name in data.features if any(fnmatchcase(name, pattern) for pattern in gate.names)]
    named = f": {', '.join(forbidden)}" if forbidden else ""
    return result(
        gate.kind, metric, float(len(forbidden)), 0.0, passed=not forbidden,
        found=f"forbidden features: {len(forbidden)} of {len(data.features)}{named}",
        limits=f"limit 0; forbidden names: {', '.join(gate.names)}",
    )  # fmt: skip


@evaluate_gate.register
def _training_serving_skew(gate: TrainingServingSkew, evidence: Evidence) -> GateResult:
    data, metric = evidence.evaluation.data, "share of rows that differ in serving"
    if data is None or data.served_note is not None:
        return not_measured(gate.kind, metric, gate.max_share, NOT_CHECKED if data is None else data.served_note or "")
    worst, share = max(data.served_differences.items(), key=lambda item: item[1], default=("", 0.0))
    passed = share <= gate.max_share
    of_feature = f" of {worst}" if worst else ""
    advice = "" if passed else "; features.sql may depend on the period that it reads"
    return result(
        gate.kind, metric, share, gate.max_share, passed=passed,
        found=f"difference between training and serving{of_feature}: {share:.2%} of {data.served_rows:,} rows",
        limits=f"limit {gate.max_share:.2%}{advice}",
    )  # fmt: skip


@evaluate_gate.register
def _holdout_reuse(gate: HoldoutReuse, evidence: Evidence) -> GateResult:
    count = len(evidence.evaluation.reused_by)
    return result(
        gate.kind, "reuse", float(count), float(gate.max_uses), passed=count <= gate.max_uses,
        found=f"earlier candidates evaluated on days of this holdout: {count}", limits=f"limit {gate.max_uses}",
    )  # fmt: skip


def _is_too_strong(each: FeatureStrength, limit: float) -> bool:
    """Whether a feature is strong at all times, or so strong on the holdout that chance does not explain it."""
    low = each.holdout if each.holdout_low is None else each.holdout_low
    return any(value is not None and value >= limit for value in (each.training, low))


def _strength(each: FeatureStrength) -> float:
    return max((value for value in (each.training, each.holdout) if value is not None), default=0.0)


def _low(each: FeatureStrength) -> float | None:
    return each.training if each.training_low is None else each.training_low


def _drop(each: FeatureStrength) -> float:
    """Return by how much a feature is weaker on the holdout than it was, with 95% confidence, at any time before."""
    low = _low(each)
    return 0.0 if low is None or each.holdout is None else low - each.holdout
