"""Gates: what passes, what does not, and in which words. Every kind, one way and the other."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from include.evaluation import decide
from include.evaluation.gates import evaluate_gate
from include.records import (
    DataChecks,
    Difference,
    Divergence,
    Evaluation,
    Evidence,
    FeatureStrength,
    GroupRates,
    Interval,
    ParityReport,
    Period,
    Rehearsal,
    Reproducibility,
    SliceMetric,
)
from include.spec import (
    METRICS,
    ArtifactSize,
    BetterThanBaseline,
    Calibration,
    DataFreshness,
    FairnessGap,
    ForbiddenColumns,
    Gate,
    HoldoutReuse,
    Latency,
    Memory,
    MetricThreshold,
    MinimumLabels,
    NoConstantFeature,
    NoInferiorSlice,
    NoLeakage,
    NonInferiority,
    OnnxParity,
    PredictionChurn,
    Reproducible,
    SliceThreshold,
    Superiority,
    TrainingServingSkew,
    WithinHistory,
    default_gates,
)

UPWARD = sorted(name for name, metric in METRICS.items() if metric.higher_is_better)
DOWNWARD = sorted(METRICS.keys() - set(UPWARD))
HOLDOUT = Period(start=datetime(2026, 1, 1, tzinfo=UTC), end=datetime(2026, 1, 31, tzinfo=UTC))
REHEARSAL = Rehearsal(
    model="m", artifact_digest="a", ready=True, golden_rows=20, golden_exact=True, malformed_refused=True,
    requests=200, latency_p50_ms=1.0, latency_p99_ms=8.0, memory_mib=90.0, size_bytes=3 * 2**20, seconds=2.0,
)  # fmt: skip


def gap(value: float, error: float = 0.001, degrees_of_freedom: int | None = 29) -> Difference:
    return Difference(
        value=value,
        low=value - 2 * error,
        high=value + 2 * error,
        standard_error=error,
        degrees_of_freedom=degrees_of_freedom,
        method="",
    )


def seen(candidate: float = 0.7, baseline: float = 0.6, champion: float | None = None, **more: Any) -> Evidence:
    """Evidence with one metric; `error` is that of both differences."""
    metric, error = more.pop("metric", "roc_auc"), more.pop("error", 0.001)
    apart = {name: more.pop(name) for name in ("rehearsal", "reproducibility", "history") if name in more}
    told: dict[str, Any] = {
        "model": "m", "rows": 1000, "candidate": {metric: candidate}, "baseline": {metric: baseline},
        "holdout": HOLDOUT, "intervals": {metric: Interval(low=candidate - 0.02, high=candidate + 0.02)},
        "baseline_differences": {metric: gap(candidate - baseline, error)},
    }  # fmt: skip
    if champion is not None:
        told |= {"champion": {metric: champion}, "champion_version": 3, "champion_sequence": 4}
        told["differences"] = {metric: gap(candidate - champion, error)}
    return Evidence(evaluation=Evaluation(**(told | more)), **apart)


def part(name: str, candidate: float, difference: float | None = None, metric: str = "roc_auc") -> SliceMetric:
    return SliceMetric(
        name=name,
        features=(name.split()[0],),
        rows=500,
        metric=metric,
        candidate=candidate,
        champion=None if difference is None else candidate - difference,
        difference=None if difference is None else gap(difference),
    )


def group(name: str, rate: float | None, rows: int = 500) -> GroupRates:
    return GroupRates(
        feature="region", group=name, rows=rows, selection_rate=0.2, error_rate=0.1, true_positive_rate=rate
    )


def leak(training: float, holdout: float, feature: str = "refund") -> DataChecks:
    both = (FeatureStrength(feature=feature, training=training, holdout=holdout), FeatureStrength(feature="size"))
    return DataChecks(features=("size", feature), strengths=both)


def parity(difference: float = 1e-7, changed: int = 0) -> ParityReport:
    return ParityReport(
        rows=900, largest_difference=difference, changed_labels=changed, tolerance=1e-5, single_row_exact=True
    )


def far(rank: float | None, moves: float = 0.0, flips: float | None = 0.0) -> Evidence:
    return seen(champion=0.7, divergence=Divergence(rank_correlation=rank, decile_moves=moves, label_flips=flips))


def twice(first: str, second: str) -> Reproducibility:
    return Reproducibility(first_digest=first, second_digest=second, seconds=1.0)


SLICES = (part("carrier = UA", 0.71, -0.001), part("carrier = YV", 0.52, -0.002), part("origin = JFK", 0.7, 0.01))
BAD_SLICE = (*SLICES, part("carrier = HA", 0.6, -0.05))
CHECKS = DataChecks(features=("size", "cost"), newest=datetime(2026, 1, 30, tzinfo=UTC), served_rows=40)

CASES = [
    # a gate, evidence that passes it, evidence that fails it, and the sentence then, or its beginning
    (
        MetricThreshold(metric="roc_auc", minimum=0.7),
        seen(0.7),
        seen(0.699),
        "roc_auc: candidate 0.6990; limit at least 0.7: failed",
    ),
    (
        MetricThreshold(metric="roc_auc", minimum=0.7, on="interval"),
        seen(0.72),
        seen(0.71),
        "roc_auc: candidate 0.7100 (95% interval 0.6900 to 0.7300); limit the whole interval at least 0.7: failed",
    ),
    (
        MetricThreshold(metric="brier", maximum=0.2),
        seen(0.2, metric="brier"),
        seen(0.21, metric="brier"),
        "brier: candidate 0.2100; limit at most 0.2: failed",
    ),
    (
        MetricThreshold(metric="brier", maximum=0.2, on="interval"),
        seen(0.1, metric="brier"),
        seen(0.19, metric="brier"),
        "brier: candidate 0.1900 (95% interval 0.1700 to 0.2100); limit the whole interval at most 0.2: failed",
    ),
    (
        MetricThreshold(metric="roc_auc", minimum=0.5, maximum=0.9),
        seen(0.9),
        seen(0.95),
        "roc_auc: candidate 0.9500; limit at least 0.5 and at most 0.9: failed",
    ),
    (
        Calibration(max_error=0.05),
        seen(0.04, metric="ece"),
        seen(0.09, metric="ece"),
        "ece: candidate 0.0900; limit at most 0.05: failed",
    ),
    (
        BetterThanBaseline(metric="roc_auc"),
        seen(0.61, 0.6),
        seen(0.6, 0.6),
        "roc_auc: candidate 0.6000, baseline 0.6000, difference +0.0000; limit above +0.0000: failed",
    ),
    (
        BetterThanBaseline(metric="mae", margin=0.05),
        seen(0.5, 0.6, metric="mae"),
        seen(0.6, 0.6, metric="mae"),
        "mae: candidate 0.6000, baseline 0.6000, difference +0.0000; limit below -0.0500: failed",
    ),
    (
        BetterThanBaseline(metric="roc_auc", alpha=0.05),
        seen(0.61, 0.6),
        seen(0.61, 0.6, error=0.01),
        (
            "roc_auc: candidate 0.6100, baseline 0.6000, difference +0.0100 (95% lower bound -0.0070); limit above "
            "+0.0000: failed"
        ),
    ),
    (
        NonInferiority(metric="roc_auc", margin=0.01),
        seen(0.695, champion=0.7),
        seen(0.695, champion=0.7, error=0.004),
        (
            "roc_auc: candidate 0.6950, champion (version 3) 0.7000, difference -0.0050 (95% lower bound -0.0118); "
            "limit -0.0100: failed"
        ),
    ),
    (
        NonInferiority(metric="mae", margin=0.1),
        seen(0.65, champion=0.6, metric="mae"),
        seen(0.75, champion=0.6, metric="mae"),
        (
            "mae: candidate 0.7500, champion (version 3) 0.6000, difference +0.1500 (95% upper bound +0.1517); "
            "limit +0.1000: failed"
        ),
    ),
    (
        Superiority(metric="roc_auc"),
        seen(0.71, champion=0.7),
        seen(0.71, champion=0.7, error=0.01),
        (
            "roc_auc: candidate 0.7100, champion (version 3) 0.7000, difference +0.0100 (95% lower bound -0.0070); "
            "limit above +0.0000: failed"
        ),
    ),
    (
        PredictionChurn(min_rank_correlation=0.95, max_label_flips=0.02),
        far(0.95, moves=1.0, flips=0.02),
        far(0.96, flips=0.25),
        (
            "1,000 rows compared with the champion (version 3): rank correlation 0.9600, label flips 25.00%; limits: "
            "rank correlation at least 0.95, label flips at most 2.00%: failed"
        ),
    ),
    (
        PredictionChurn(max_decile_moves=0.3),
        far(None, moves=0.3),
        far(1.0, moves=0.31),
        (
            "1,000 rows compared with the champion (version 3): decile moves 31.00%; limits: decile moves at most "
            "30.00%: failed"
        ),
    ),
    (
        PredictionChurn(min_rank_correlation=-1),
        far(-1.0),
        far(None),
        (
            "1,000 rows compared with the champion (version 3): rank correlation not defined; limits: rank correlation "
            "at least -1: failed"
        ),
    ),
    (
        WithinHistory(metric="roc_auc"),
        seen(0.69, history=[{"roc_auc": 0.7}] * 5),
        seen(0.6, history=[{"roc_auc": 0.7}] * 5),
        (
            "roc_auc: candidate 0.6000, median of 5 accepted versions 0.7000, robust z-score -20.0; limit at least "
            "0.6700 (z-score -6): failed"
        ),
    ),
    (
        SliceThreshold(metric="roc_auc", minimum=0.5),
        seen(slices=SLICES),
        seen(slices=(*SLICES, part("carrier = HA", 0.4))),
        ("roc_auc: 1 of 4 slices beyond the limit: 0.4000 where carrier = HA (500 rows); limit at least 0.5: failed"),
    ),
    (
        SliceThreshold(metric="roc_auc", minimum=0.6, feature="origin"),
        seen(slices=SLICES),
        seen(slices=(part("origin = X", 0.5),)),
        "roc_auc: 1 of 1 slices beyond the limit: 0.5000 where origin = X (500 rows); limit at least 0.6: failed",
    ),
    (
        NoInferiorSlice(metric="roc_auc", margin=0.01),
        seen(champion=0.7, slices=SLICES),
        seen(champion=0.7, slices=BAD_SLICE),
        (
            "roc_auc, worst of 4 slices, where carrier = HA (500 rows): candidate 0.6000, champion (version 3) 0.6500, "
            "difference -0.0500 (p 0.0000 for a loss beyond 0.01, Holm's correction); limit p at least 0.05: failed"
        ),
    ),
    (
        FairnessGap(feature="region", max_difference=0.1),
        seen(groups=(group("north", 0.5), group("south", 0.55))),
        seen(groups=(group("north", 0.5), group("south", 0.7), group("sea", 0.0, rows=5))),
        (
            "true positive rate: 0.500 where north, 0.700 where south, difference 0.200 (1 group(s) with fewer than "
            "200 rows left out); limit 0.1: failed"
        ),
    ),
    (MinimumLabels(rows=1000), seen(), seen(rows=999), "holdout: 999 labelled rows; minimum 1,000: failed"),
    (
        MinimumLabels(rows=10, per_class=50),
        seen(class_rows={"no": 900, "yes": 100}),
        seen(class_rows={"no": 960, "yes": 40}),
        "holdout: 1,000 labelled rows, 40 of class yes; minimum 10, and 50 of every class: failed",
    ),
    (
        DataFreshness(max_age=timedelta(days=2)),
        seen(data=CHECKS),
        seen(data=CHECKS.model_copy(update={"newest": HOLDOUT.start})),
        (
            "newest row: 2026-01-01 00:00 UTC, 30 days, 0:00:00 before the end of the holdout; limit 2 days, 0:00:00: "
            "failed"
        ),
    ),
    (
        NoConstantFeature(),
        seen(data=CHECKS),
        seen(data=CHECKS.model_copy(update={"constant": {"size": "holdout"}})),
        "constant features: 1 of 2: size (in all holdout rows); limit 0; correct the source: failed",
    ),
    (
        NoLeakage(),
        seen(data=leak(0.7, 0.68)),
        seen(data=leak(0.99, 0.995)),
        "possible label leakage, strength of single features: refund 0.9950; limit below 0.99: failed",
    ),
    (
        NoLeakage(),
        seen(data=leak(0.7, 0.56)),
        seen(data=leak(0.9, 0.6)),
        (
            "possible label leakage, strength of refund: at least 0.9000 in the training period, 0.6000 after it, "
            "drop 0.3000; limit 0.15; the feature may be written or corrected after the event: failed"
        ),
    ),
    (
        ForbiddenColumns(names=("*_ssn", "age")),
        seen(data=CHECKS),
        seen(data=leak(0.5, 0.5, "holder_ssn")),
        "forbidden features: 1 of 2: holder_ssn; limit 0; forbidden names: *_ssn, age: failed",
    ),
    (
        TrainingServingSkew(),
        seen(data=CHECKS),
        seen(data=CHECKS.model_copy(update={"served_differences": {"cost": 0.25}})),
        (
            "difference between training and serving of cost: 25.00% of 40 rows; limit 1.00%; features.sql may depend "
            "on the period that it reads: failed"
        ),
    ),
    (
        HoldoutReuse(max_uses=2),
        seen(reused_by=(1, 2)),
        seen(reused_by=(1, 2, 3)),
        "earlier candidates evaluated on days of this holdout: 3; limit 2: failed",
    ),
    (
        OnnxParity(),
        seen(parity=parity()),
        seen(parity=parity(changed=2)),
        (
            "ONNX and scikit-learn on 900 rows (0 of them probes): largest difference 1e-07, changed labels 2; "
            "limits 1e-05 and 0: failed"
        ),
    ),
    (
        OnnxParity(tolerance=1e-9),
        seen(parity=parity(1e-10)),
        seen(parity=parity(1e-7)),
        (
            "ONNX and scikit-learn on 900 rows (0 of them probes): largest difference 1e-07, changed labels 0; "
            "limits 1e-09 and 0: failed"
        ),
    ),
    (
        Reproducible(),
        seen(reproducibility=twice("a", "a")),
        seen(reproducibility=twice("a", "b")),
        (
            "model.onnx of a second training with the same snapshot, declaration and seed: different bytes; compare "
            "the two digests: failed"
        ),
    ),
    (
        ArtifactSize(max_mib=3),
        seen(rehearsal=REHEARSAL),
        seen(rehearsal=REHEARSAL.model_copy(update={"size_bytes": 2**23})),
        "artifact size: 8.0 MiB; limit 3 MiB: failed",
    ),
    (
        Latency(max_p99_ms=8),
        seen(rehearsal=REHEARSAL),
        seen(rehearsal=REHEARSAL.model_copy(update={"latency_p99_ms": 50.0})),
        "latency p99: 50.0 ms; limit 8 ms: failed",
    ),
    (
        Memory(max_mib=90),
        seen(rehearsal=REHEARSAL),
        seen(rehearsal=REHEARSAL.model_copy(update={"memory_mib": 900.0})),
        "memory of the service: 900 MiB; limit 90 MiB: failed",
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case[0].kind)
def test_a_gate_lets_through_what_it_should_and_says_why_it_stops_the_rest(case) -> None:
    gate, good, bad, sentence = case
    assert evaluate_gate(gate, good).passed, evaluate_gate(gate, good).sentence
    stopped = evaluate_gate(gate, bad)
    assert not stopped.passed
    assert stopped.sentence == sentence
    assert evaluate_gate(gate, good).sentence.endswith(": passed")
    assert stopped.gate == gate.kind


def test_every_kind_of_gate_is_tried() -> None:
    assert {type(case[0]) for case in CASES} == set(Gate.kinds.values())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case[0].kind)
def test_what_was_not_measured_does_not_pass(case) -> None:
    nothing = Evidence(
        evaluation=Evaluation(model="m", rows=0, candidate={}, baseline={}, champion_version=1, champion={})
    )
    result = evaluate_gate(case[0], nothing)
    if isinstance(case[0], HoldoutReuse):
        assert result.passed  # nobody was judged here before
    else:
        assert not result.passed
        assert result.value is None or result.metric == "rows"


def test_one_closed_gate_is_enough_to_reject() -> None:
    decision = decide(seen(0.7), [MetricThreshold(metric="roc_auc", minimum=0.6), MinimumLabels(rows=2000)])
    assert not decision.accepted
    assert decision.reasons == ("holdout: 1,000 labelled rows; minimum 2,000: failed",)


def test_parity_and_the_rehearsal_need_no_declaration() -> None:
    accepted = decide(seen(parity=parity(), rehearsal=REHEARSAL), [MinimumLabels(rows=1)])
    assert accepted.accepted
    assert [gate.gate for gate in accepted.gates] == ["minimum_labels", "onnx_parity", "rehearsal"]
    failed = REHEARSAL.model_copy(update={"faults": ("Golden row 3 differs.",)})
    rejected = decide(seen(parity=parity(0.1), rehearsal=failed), [MinimumLabels(rows=1)])
    assert not rejected.accepted
    assert "Golden row 3 differs: failed" in rejected.reasons


def test_training_twice_decides_with_the_evidence_alone() -> None:
    same, other = (seen(reproducibility=twice("a", second)) for second in "ab")
    assert decide(same, [MinimumLabels(rows=1)]).accepted
    assert not decide(other, [MinimumLabels(rows=1)]).accepted
    assert [each.gate for each in decide(other, [Reproducible()]).gates] == ["reproducible"]
    assert decide(seen(), [MinimumLabels(rows=1)]).accepted, "nobody asked for it"


def test_without_a_champion_there_is_nothing_to_be_worse_than() -> None:
    gates = [
        NonInferiority(metric="roc_auc"),
        Superiority(metric="roc_auc"),
        NoInferiorSlice(metric="roc_auc"),
        PredictionChurn(min_rank_correlation=1.0),
    ]
    assert decide(seen(0.1), gates).accepted
    assert {evaluate_gate(gate, seen(0.1)).sentence for gate in gates} == {
        "roc_auc: no champion yet, so there is nothing to compare with: passed",
        "prediction churn: no champion yet, so there is nothing to compare with: passed",
    }


def test_a_candidate_that_answers_as_the_champion_does_is_not_worse_by_any_margin() -> None:
    assert decide(seen(0.7, champion=0.7, error=0.0), [NonInferiority(metric="roc_auc", margin=0.0)]).accepted


def test_a_champion_that_cannot_answer_the_holdout_closes_the_gate_and_says_why() -> None:
    evidence = seen(champion_version=3, champion_note="it needs feature(s) that features.sql no longer returns: x")
    decision = decide(evidence, [NonInferiority(metric="roc_auc", margin=1.0)])
    assert decision.reasons == (
        (
            "roc_auc: champion (version 3) cannot be compared: it needs feature(s) that features.sql no longer "
            "returns: x: failed"
        ),
    )
    stopped = evaluate_gate(PredictionChurn(max_label_flips=1.0), evidence)
    assert stopped.sentence == (
        "prediction churn: not measured (it needs feature(s) that features.sql no longer returns: x): failed"
    )


def test_a_model_without_a_history_is_not_unusual() -> None:
    result = evaluate_gate(WithinHistory(metric="roc_auc"), seen(0.1, history=[{"roc_auc": 0.7}] * 4))
    assert result.passed
    assert result.sentence == (
        "roc_auc: candidate 0.1000; no history yet: 4 accepted version(s) with this metric, 5 needed: passed"
    )


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_every_task_has_defaults_that_judge_quality_data_and_history(task) -> None:
    kinds = {gate.kind for gate in default_gates(task)}
    assert kinds >= {
        "minimum_labels",
        "better_than_baseline",
        "non_inferiority",
        "within_history",
        "no_leakage",
    }


figures = st.floats(0, 1, allow_nan=False)
errors = st.floats(0, 0.1, allow_nan=False)


def policy(metric: str, bound: float, margin: float, alpha: float) -> list[Any]:
    limit = {"minimum" if METRICS[metric].higher_is_better else "maximum": bound}
    return [
        MetricThreshold(metric=metric, **limit),
        MetricThreshold(metric=metric, on="interval", **limit),
        BetterThanBaseline(metric=metric, margin=margin),
        BetterThanBaseline(metric=metric, margin=margin, alpha=alpha),
        NonInferiority(metric=metric, margin=margin, alpha=alpha),
        Superiority(metric=metric, margin=margin, alpha=alpha),
        WithinHistory(metric=metric),
        SliceThreshold(metric=metric, **limit),
        NoInferiorSlice(metric=metric, margin=margin, alpha=alpha),
    ]


@settings(deadline=None)
@given(
    metric=st.sampled_from(UPWARD + DOWNWARD),
    figure=figures,
    better=figures,
    rival=figures,
    margin=st.floats(0, 0.5),
    error=errors,
    alpha=st.floats(0.001, 0.4),
)
def test_a_better_figure_never_turns_a_pass_into_a_fail(metric, figure, better, rival, margin, error, alpha) -> None:
    gain = METRICS[metric].gain(better)

    def judged(value: float) -> list[bool]:
        slices = (part("a = 1", value, value - rival, metric), part("a = 2", rival, 0.0, metric))
        past = [{metric: rival}] * 5
        evidence = seen(value, rival, rival, metric=metric, error=error, slices=slices, history=past)
        return [result.passed for result in decide(evidence, policy(metric, rival, margin, alpha)).gates]

    worse, after = judged(figure), judged(figure + gain)
    assert all(later or not before for before, later in zip(worse, after, strict=True))


@settings(deadline=None)
@given(error=errors, more=errors, margin=st.floats(0, 0.2), value=st.floats(-0.1, 0.1), alpha=st.floats(0.001, 0.4))
def test_knowing_less_never_lets_a_worse_candidate_through(error, more, margin, value, alpha) -> None:
    gate = NonInferiority(metric="roc_auc", margin=margin, alpha=alpha)
    surer, vaguer = (
        evaluate_gate(gate, seen(0.7 + value, champion=0.7, error=each)).passed for each in (error, error + more)
    )
    assert surer or not vaguer


shares = st.floats(0, 1)
ranks = st.none() | st.floats(-1, 1)


@given(bound=shares, rank=ranks, moves=shares, flips=shares, nearer=st.tuples(shares, shares, shares))
def test_answering_nearer_to_the_champion_never_turns_a_pass_into_a_fail(bound, rank, moves, flips, nearer) -> None:
    bounds = {"min_rank_correlation": 2 * bound - 1, "max_decile_moves": bound, "max_label_flips": bound}
    gates = [*(PredictionChurn(**{name: value}) for name, value in bounds.items()), PredictionChurn(**bounds)]
    closer = rank if rank is None else rank + (1 - rank) * nearer[0]
    before = [evaluate_gate(gate, far(rank, moves, flips)).passed for gate in gates]
    after = [evaluate_gate(gate, far(closer, moves * nearer[1], flips * nearer[2])).passed for gate in gates]
    assert all(later or not earlier for earlier, later in zip(before, after, strict=True))
    assert before[-1] == all(before[:-1]), "all bounds together are each of them"


def of_the_data(**changed: Any) -> Evidence:
    return seen(data=CHECKS.model_copy(update=changed))


def rehearsed(**changed: Any) -> Evidence:
    return seen(rehearsal=REHEARSAL.model_copy(update=changed))


def some(most: int, good: float) -> range:
    """Fewer and fewer as `good` rises from 0 to 1, in the end none."""
    return range(round(most * (1 - good)))


IMPROVING = [
    # a gate, and evidence that gets better as a number rises from 0, where it is stopped, to 1, where it passes
    (Calibration(max_error=0.3), lambda good: seen(1 - good, metric="ece")),
    (
        FairnessGap(feature="region", max_difference=0.1),
        lambda good: seen(groups=(group("north", 0.5), group("south", 1 - good / 2))),
    ),
    (MinimumLabels(rows=500), lambda good: seen(rows=round(1000 * good))),
    (MinimumLabels(rows=1, per_class=50), lambda good: seen(class_rows={"no": 900, "yes": round(100 * good)})),
    (
        DataFreshness(max_age=timedelta(days=9)),
        lambda good: of_the_data(newest=HOLDOUT.start + good * (HOLDOUT.end - HOLDOUT.start)),
    ),
    (NoConstantFeature(), lambda good: of_the_data(constant={f"f{each}": "holdout" for each in some(3, good)})),
    (NoLeakage(), lambda good: seen(data=leak(1 - good / 2, 1 - good / 2))),
    (NoLeakage(), lambda good: seen(data=leak(1 - good * 0.4, 0.6))),
    (ForbiddenColumns(names=("*_ssn",)), lambda good: of_the_data(features=[f"a{each}_ssn" for each in some(3, good)])),
    (TrainingServingSkew(), lambda good: of_the_data(served_differences={"cost": 1 - good})),
    (HoldoutReuse(max_uses=2), lambda good: seen(reused_by=tuple(some(6, good)))),
    (OnnxParity(tolerance=0.3), lambda good: seen(parity=parity(1 - good))),
    (OnnxParity(), lambda good: seen(parity=parity(changed=len(some(5, good))))),
    (ArtifactSize(max_mib=3), lambda good: rehearsed(size_bytes=round(6 * 2**20 * (1 - good)))),
    (Latency(max_p99_ms=8), lambda good: rehearsed(latency_p99_ms=16 * (1 - good))),
    (Memory(max_mib=90), lambda good: rehearsed(memory_mib=180 * (1 - good))),
]


@pytest.mark.parametrize(("gate", "evidence"), IMPROVING, ids=[gate.kind for gate, _ in IMPROVING])
@given(good=shares, better=shares)
def test_better_facts_never_turn_a_pass_into_a_fail(gate, evidence, good: float, better: float) -> None:
    assert not evaluate_gate(gate, evidence(0.0)).passed
    assert evaluate_gate(gate, evidence(1.0)).passed
    low, high = sorted((good, better))
    assert evaluate_gate(gate, evidence(high)).passed or not evaluate_gate(gate, evidence(low)).passed


def test_every_gate_with_a_figure_is_known_to_be_monotone() -> None:
    tried = {type(gate) for gate in policy(UPWARD[0], 0.5, 0.1, 0.05) + policy(DOWNWARD[0], 0.5, 0.1, 0.05)}
    tried |= {type(gate) for gate, _ in IMPROVING} | {PredictionChurn}
    assert set(Gate.kinds.values()) - tried == {Reproducible}, "which knows two answers only"


@given(rank=ranks, moves=shares, flips=st.none() | shares)
def test_the_divergence_is_weighed_from_the_evidence_alone(rank, moves, flips) -> None:
    evidence, gates = far(rank, moves, flips), [PredictionChurn(min_rank_correlation=0.5, max_label_flips=0.5)]
    assert decide(evidence, gates) == decide(Evidence.from_plain(evidence.to_plain()), tuple(gates))


@settings(deadline=None)
@given(figure=figures, rival=figures, error=errors)
def test_deciding_is_a_function_of_its_inputs_alone(figure, rival, error) -> None:
    evidence = seen(figure, rival, rival, error=error, history=[{"roc_auc": rival}] * 6, parity=parity())
    again = Evidence.from_plain(evidence.to_plain())
    gates = policy("roc_auc", rival, 0.01, 0.05)
    assert decide(evidence, gates) == decide(again, gates) == decide(evidence, tuple(gates))


def test_an_evaluation_of_before_intervals_were_measured_is_still_read() -> None:
    stored = {"model": "m", "rows": 10, "candidate": {"roc_auc": 0.8}, "baseline": {"roc_auc": 0.7}, "champion": None}
    old = Evaluation.from_plain(stored)
    assert (old.intervals, old.differences, old.reused_by, old.holdout, old.data) == ({}, {}, (), None, None)
