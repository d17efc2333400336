"""Evidence to draw and to read: complete for each task, or as bare as an old evaluation."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from sklearn.metrics import precision_recall_curve, roc_curve

from include.evidence import EvidencePack
from include.evidence.pack import ModelDeclaration
from include.records import (
    Bin,
    CardData,
    Curve,
    Decision,
    Difference,
    Divergence,
    Evaluation,
    GateResult,
    GroupRates,
    Importance,
    Interval,
    ParityReport,
    Period,
    Rehearsal,
    Reproducibility,
    SliceMetric,
    SnapshotRef,
    Split,
)
from include.spec import Boolean, Categorical, Numeric

AT = datetime(2026, 3, 1, tzinfo=UTC)
TRAIN = Period(start=AT - timedelta(days=120), end=AT - timedelta(days=31))
HOLDOUT = Period(start=AT - timedelta(days=30), end=AT)
CLASSES = {"binary": ("on_time", "late"), "multiclass": ("setosa", "versicolor", "virginica"), "regression": ()}
FEATURES = (
    Numeric(name="distance", unit="km", minimum=0, maximum=5000, nullable=True),
    Numeric(name="departure_hour", unit="h", minimum=0, maximum=24),
    Categorical(name="carrier", categories=tuple(f"carrier {letter}" for letter in "ABCDEFGHIJKLMNOP")),
    Boolean(name="weekend"),
)


def pack_of(task: str = "binary", *, bare: bool = False, accepted: bool = True, **changes: Any) -> EvidencePack:
    """Return evidence with everything in it, or with no more than was measured at first."""
    rng = np.random.default_rng(7)
    evaluation = _evaluation(task, bare)
    gates = [
        GateResult(gate="better_than_baseline", metric="roc_auc", value=0.7269, limit=0.7179, passed=True,
                   sentence="roc_auc is 0.7269; it must be above 0.7179 (baseline)."),
        GateResult(gate="non_inferiority", metric="roc_auc", value=-0.0021, limit=-0.005, passed=accepted,
                   sentence="roc_auc less the champion's is at least -0.0021 with 95% confidence; -0.0050 is allowed."),
        GateResult(gate="minimum_labels", metric="rows", value=25870, limit=5000, passed=True,
                   sentence="The holdout has 25,870 labelled rows; 5,000 are needed."),
    ]  # fmt: skip
    fields: dict[str, Any] = {
        "version": 7,
        "run_id": "scheduled__2026-03-01T00:00:00+00:00",
        "declaration": ModelDeclaration(
            model="flight_delay", task=task, description="Will a flight arrive more than 15 minutes late?",
            owner="operations & <planning>", source="source.flights", target="outcome", classes=CLASSES[task],
            features=FEATURES, gates=({"kind": "minimum_labels", "rows": 5000},), seed=0, parity_tolerance=1e-5,
        ),
        "snapshot": SnapshotRef(
            model="flight_delay", path="snapshot.parquet", digest="d" * 64, query_digest="9" * 64,
            split=Split(train=TRAIN, holdout=HOLDOUT), train_rows=78_120, holdout_rows=25_870,
        ),
        "fit_seconds": 3.41,
        "evaluation": evaluation,
        "decision": Decision(accepted=accepted, gates=tuple(gates)),
        "parity": ParityReport(
            rows=25_870, largest_difference=3.1e-7, changed_labels=0, tolerance=1e-5, single_row_exact=True
        ),
        "files": {"model.onnx": "a" * 64, "model.joblib": "b" * 64, "signature.json": "c" * 64},
        "spec_digest": "5" * 64,
        "data_digest": "d" * 64,
        "code_digest": "c" * 64,
        "libraries": {"numpy": "2.4.6", "onnxruntime": "1.32.0", "scikit-learn": "1.9.1"},
        "created_at": AT,
    }  # fmt: skip
    if not bare:
        fields["card"] = _card(task, rng)
        fields["rehearsal"] = Rehearsal(
            model="flight_delay", artifact_digest="f" * 64, ready=True, golden_rows=20, golden_exact=True,
            malformed_refused=True, requests=2400, latency_p50_ms=0.31, latency_p99_ms=1.42, memory_mib=71.3,
            size_bytes=412_331, seconds=6.2,
        )  # fmt: skip
        fields["reproducibility"] = Reproducibility(first_digest="a" * 64, second_digest="a" * 64, seconds=3.6)
    return EvidencePack(**{**fields, **changes})


def _evaluation(task: str, bare: bool) -> Evaluation:
    names = {
        "binary": {"roc_auc": 0.7269, "average_precision": 0.4412, "log_loss": 0.5522, "brier": 0.1832},
        "multiclass": {"accuracy": 0.9333, "macro_f1": 0.9321, "log_loss": 0.1914},
        "regression": {"mae": 12.41, "rmse": 18.93, "r2": 0.4127},
    }[task]
    baseline = {name: value * 0.97 for name, value in names.items()}
    if bare:
        return Evaluation(model="flight_delay", rows=25_870, candidate=names, baseline=baseline)
    champion = {name: value * 0.995 for name, value in names.items()}

    def around(figures: dict[str, float]) -> dict[str, Interval]:
        return {name: Interval(low=value * 0.98, high=value * 1.02) for name, value in figures.items()}

    def less(rival: dict[str, float]) -> dict[str, Difference]:
        return {
            name: Difference(value=names[name] - value, low=names[name] - value - 0.004,
                             high=names[name] - value + 0.004, standard_error=0.002, method="bootstrap by block")
            for name, value in rival.items()
        }  # fmt: skip

    metric = next(iter(names))
    slices = tuple(
        SliceMetric(name=f"carrier = carrier {letter}", features=("carrier",), rows=1200 + 7 * i, metric=metric,
                    candidate=0.69 + 0.01 * i, low=0.66, high=0.75, champion=0.68, elsewhere=0.73,
                    p_value=0.21 + 0.1 * i)
        for i, letter in enumerate("ABC")
    )  # fmt: skip
    return Evaluation(
        model="flight_delay", rows=25_870, candidate=names, baseline=baseline, champion=champion, champion_version=6,
        champion_sequence=6, n_resamples=2000, n_blocks=30, block_description="1 day", intervals=around(names),
        baseline_intervals=around(baseline), champion_intervals=around(champion), differences=less(champion),
        baseline_differences=less(baseline), threshold=0.31, divergence=Divergence(
            rank_correlation=0.9731, decile_moves=0.2104, label_flips=None if task == "regression" else 0.0312
        ),
        class_rows={name: 8000 - 900 * i for i, name in enumerate(CLASSES[task])}, slices=slices,
        worst_slices=slices[:2], slices_left_out=2, train=TRAIN, holdout=HOLDOUT, reused_by=(5, 6), seconds=4.2,
        groups=(
            GroupRates(feature="weekend", group="true", rows=7000, selection_rate=0.31, error_rate=0.27,
                       true_positive_rate=0.6, false_positive_rate=0.2),
            GroupRates(feature="weekend", group="false", rows=18_870, selection_rate=0.33, error_rate=0.28),
        ) if task == "binary" else (),
    )  # fmt: skip


def _card(task: str, rng: np.random.Generator) -> CardData:
    importances = tuple(
        Importance(feature=feature.name, mean=0.05 / (i + 1), spread=0.002) for i, feature in enumerate(FEATURES)
    )
    fields: dict[str, Any] = {"importances": importances, "importance_loss": "log loss", "importance_rows": 5000}
    if task == "regression":
        fields["importance_loss"] = "mean absolute error"
        errors = {who: rng.normal(0, width, 4000) for who, width in (("candidate", 18), ("baseline", 22))}
        fields["residuals"] = {who: _bins(values) for who, values in errors.items()}
        fields["scores"] = _bins(rng.gamma(2, 10, 4000))
        target = rng.gamma(2, 10, 4000) - 20
        fields["calibration"] = {
            who: _reliability(target, 0.6 * target + rng.normal(0, width, 4000))
            for who, width in (("candidate", 6), ("baseline", 12))
        }
        return CardData(model="flight_delay", **fields)
    fields["confusion"] = tuple(
        tuple(7000 - 60 * i if i == j else 300 + 10 * j for j in range(len(CLASSES[task])))
        for i in range(len(CLASSES[task]))
    )
    truth = rng.integers(0, 2, 4000)
    names = ("candidate", "champion", "baseline")
    if task == "multiclass":
        names = tuple(f"candidate: {name}" for name in CLASSES[task])
    scores = {who: 1 / (1 + np.exp(-rng.normal(truth * (1.4 - 0.3 * i) - 0.6, 1))) for i, who in enumerate(names)}
    fields["roc"] = {who: _thin(*roc_curve(truth, each)[:2]) for who, each in scores.items()}
    fields["precision_recall"] = {
        who: _thin(*precision_recall_curve(truth, each)[1::-1]) for who, each in scores.items()
    }
    fields["calibration"] = {who: _reliability(truth, each) for who, each in list(scores.items())[:3]}
    if task == "binary":
        fields["scores"] = _bins(scores["candidate"])
    else:
        fields["calibration"] = {"candidate": _reliability(truth, next(iter(scores.values())))}
    return CardData(model="flight_delay", **fields)


def _thin(x: np.ndarray, y: np.ndarray) -> Curve:
    keep = np.unique(np.linspace(0, len(x) - 1, 120).astype(int))
    return Curve(x=tuple(x[keep].tolist()), y=tuple(y[keep].tolist()))


def _bins(values: np.ndarray) -> tuple[Bin, ...]:
    counts, edges = np.histogram(values, bins=20)
    return tuple(
        Bin(low=low, high=high, rows=int(rows)) for low, high, rows in zip(edges[:-1], edges[1:], counts, strict=True)
    )


def _reliability(truth: np.ndarray, scores: np.ndarray) -> tuple[Bin, ...]:
    order = np.array_split(np.argsort(scores), 15)
    return tuple(
        Bin(low=scores[part].min(), high=scores[part].max(), rows=len(part), predicted=scores[part].mean(),
            observed=truth[part].mean())
        for part in order
    )  # fmt: skip
