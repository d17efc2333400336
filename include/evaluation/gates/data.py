"""Gates on the rows that a candidate learned from and was judged on."""

from __future__ import annotations

from fnmatch import fnmatchcase

from include.evaluation.gates.base import not_measured, verdict, weigh
from include.records import DataChecks, Evidence, FeatureStrength, GateResult
from include.spec import (
    DataFreshness,
    ForbiddenColumns,
    HoldoutReuse,
    MinimumLabels,
    NoConstantFeature,
    NoLeakage,
    TrainingServingSkew,
)

NOT_LOOKED = "the evaluation holds no facts about its rows"


@weigh.register
def _minimum_labels(gate: MinimumLabels, evidence: Evidence) -> GateResult:
    told = evidence.evaluation
    enough = told.rows >= gate.rows
    sentence = f"The holdout has {told.rows:,} labelled rows; {gate.rows:,} are needed."
    if gate.per_class and told.class_rows:
        rarest = min(told.class_rows, key=lambda label: told.class_rows[label])
        if told.class_rows[rarest] < gate.per_class:
            enough = False
        sentence += f" {told.class_rows[rarest]:,} are {rarest}; {gate.per_class:,} of every class are needed."
    elif gate.per_class:
        enough = False
        sentence += f" {gate.per_class:,} of every class are needed; they were not counted."
    return verdict(gate.kind, "rows", float(told.rows), float(gate.rows), passed=enough, sentence=sentence)


@weigh.register
def _fresh_data(gate: DataFreshness, evidence: Evidence) -> GateResult:
    told = evidence.evaluation
    if told.data is None or told.data.newest is None or told.holdout is None:
        return not_measured(gate.kind, "age of the newest row", gate.age.total_seconds(), NOT_LOOKED)
    age = told.holdout.end - told.data.newest
    sentence = (
        f"The newest row is of {told.data.newest:%Y-%m-%d %H:%M} UTC, {age} before the end of the holdout; "
        f"at most {gate.age} is allowed."
    )
    seconds = age.total_seconds(), gate.age.total_seconds()
    return verdict(gate.kind, "age in seconds", *seconds, passed=age <= gate.age, sentence=sentence)


@weigh.register
def _no_constant_feature(gate: NoConstantFeature, evidence: Evidence) -> GateResult:
    data = evidence.evaluation.data
    if data is None:
        return not_measured(gate.kind, "constant features", 0.0, NOT_LOOKED)
    found = {name: where for name, where in data.constant.items() if name not in gate.allowed}
    told = "; ".join(f"{name} has a single value in all {where} rows" for name, where in found.items())
    sentence = f"{told}: mend its source." if found else f"None of {len(data.features)} features is constant."
    return verdict(gate.kind, "constant features", float(len(found)), 0.0, passed=not found, sentence=sentence)


@weigh.register
def _no_leakage(gate: NoLeakage, evidence: Evidence) -> GateResult:
    data = evidence.evaluation.data
    if data is None or not data.strengths:
        return not_measured(gate.kind, "strength of single features", gate.alone, NOT_LOOKED)
    judged = [each for each in data.strengths if each.feature not in gate.allowed]
    alone = [each for each in judged if max(_known(each)) >= gate.alone]
    gone = [each for each in judged if _lost(each) > gate.drop]
    strongest = max(judged, key=lambda each: max(_known(each)), default=None)
    figure = max(_known(strongest)) if strongest else 0.0
    if alone:
        names = ", ".join(f"{each.feature} ({max(_known(each)):.4f})" for each in alone)
        sentence = (
            f"A single feature predicts the target nearly alone: {names}; below {gate.alone:g} is allowed. It leaks."
        )
    elif gone:
        each = max(gone, key=_lost)
        sentence = (
            f"{each.feature} predicted the target with a strength of {each.training:.4f} in the training period and of "
            f"{each.holdout:.4f} after it: it loses {_lost(each):.4f}, at most {gate.drop:g} is allowed. "
            "It may be written or corrected after the event."
        )
    else:
        name = strongest.feature if strongest else "none"
        sentence = (
            f"No single feature knows the target: the strongest is {name} with {figure:.4f}; "
            f"below {gate.alone:g} is allowed."
        )
    return verdict(
        gate.kind, "strength of a single feature", figure, gate.alone, passed=not alone and not gone, sentence=sentence
    )


@weigh.register
def _forbidden_columns(gate: ForbiddenColumns, evidence: Evidence) -> GateResult:
    data = evidence.evaluation.data
    if data is None:
        return not_measured(gate.kind, "forbidden features", 0.0, NOT_LOOKED)
    found = [name for name in data.features if any(fnmatchcase(name, pattern) for pattern in gate.names)]
    told = (
        f"{', '.join(found)} may not be a feature" if found else f"None of {len(data.features)} features is forbidden"
    )
    sentence = f"{told} (forbidden: {', '.join(gate.names)})."
    return verdict(gate.kind, "forbidden features", float(len(found)), 0.0, passed=not found, sentence=sentence)


@weigh.register
def _same_features(gate: TrainingServingSkew, evidence: Evidence) -> GateResult:
    data, metric = evidence.evaluation.data, "share of rows that differ in serving"
    if data is None or data.served_note is not None:
        return not_measured(gate.kind, metric, gate.share, NOT_LOOKED if data is None else data.served_note or "")
    worst, share = _most_different(data)
    passed = share <= gate.share
    if passed:
        sentence = f"{data.served_rows:,} rows read as scoring reads them are the same in {1 - share:.2%} of the rows."
    else:
        sentence = (
            f"{worst} is not the same in training and in serving: it differs in {share:.2%} of "
            f"{data.served_rows:,} rows, {gate.share:.2%} are allowed. "
            "Does features.sql depend on which period is asked for?"
        )
    return verdict(gate.kind, metric, share, gate.share, passed=passed, sentence=sentence)


@weigh.register
def _holdout_reuse(gate: HoldoutReuse, evidence: Evidence) -> GateResult:
    count = len(evidence.evaluation.reused_by)
    sentence = f"{count} earlier candidate(s) were judged on days of this holdout; at most {gate.most} are allowed."
    return verdict(gate.kind, "reuse", float(count), float(gate.most), passed=count <= gate.most, sentence=sentence)


def _known(each: FeatureStrength) -> tuple[float, ...]:
    return tuple(value for value in (each.training, each.holdout) if value is not None) or (0.0,)


def _lost(each: FeatureStrength) -> float:
    if each.training is None or each.holdout is None:
        return 0.0
    return each.training - each.holdout


def _most_different(data: DataChecks) -> tuple[str, float]:
    return max(data.served_differences.items(), key=lambda item: item[1], default=("", 0.0))
