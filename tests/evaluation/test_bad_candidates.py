"""Eight bad candidates, each trained and taken through the pipeline's steps, each stopped by the right gate.

They stand against a champion on 18,000 parcels and are judged on 6,000 later ones. A good candidate that
is not the champion's twin passes: the gates can tell.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from sqlalchemy import text

from include import pipeline
from include.errors import ConversionError
from include.evaluation import decide
from include.inference import RowEncoder, load_golden, load_scorer
from include.provenance import VerifiedFiles
from include.records import Decision, ExportedCandidate, Rehearsal
from include.resources import Resources, open_resources
from include.settings import Settings
from include.spec import Columns, ModelSpec, TrainingWindow
from include.steps.evaluate import gather_evidence
from include.training import candidate as candidates
from tests.builders import TODAY, declare_model

pytestmark = pytest.mark.slow

ROWS_A_DAY, DAYS = 300, 80
HOLDOUT_DAYS = 20

SPEC = """
from datetime import timedelta

from include.spec import *


def build(columns):
    from sklearn.ensemble import GradientBoostingClassifier

    return GradientBoostingClassifier(n_estimators=60, max_depth=3, subsample=0.8, random_state=1)


spec = ModelSpec(
    name="{name}",
    task="binary",
    description="Will the parcel be late?",
    owner="tests",
    source="source.{name}",
    entity_key=EntityKey(column="parcel_id"),
    event_time="sent_at",
    features=(
        Numeric(name="weight", unit="kg", minimum=0, maximum=100),
        Numeric(name="distance", unit="km", minimum=0, maximum=5000),
        Categorical(name="carrier", categories=("ant", "bee", "cat", "emu"), handle_unknown="error"),
        Boolean(name="fragile"),  # more features
    ),
    target=Target(column="outcome", classes=("on_time", "late")),
    estimator=build,
    window=TrainingWindow(train=timedelta(days=60), holdout=timedelta(days=20)),
    contract=Contract(training_rows=(500, 100_000), partition_rows=(1, 10_000)),
    evaluation=EvaluationConfig(slices=(Slice(feature="carrier"),), n_resamples=1000),
    gates=(
        MinimumLabels(rows=1000, per_class=100),
        BetterThanBaseline(metric="roc_auc", margin=-0.02),
        NonInferiority(metric="roc_auc", margin=0.005),
        Calibration(max_error=0.05),
        SliceThreshold(metric="roc_auc", minimum=0.6, feature="carrier"),
        NoLeakage(),
        NoConstantFeature(),
        TrainingServingSkew(),
        WithinHistory(metric="roc_auc"),
        ArtifactSize(max_mib=1),
        Latency(max_p99_ms=10),
    ),
    retrain_schedule=None,
    score_schedule=None,
)
"""

QUERY = """
SELECT parcel_id, sent_at, weight, distance, carrier, fragile, outcome
FROM source.{name}
WHERE sent_at >= :period_start AND sent_at < :period_end
"""

TABLE = f"""
CREATE TABLE source.parcels AS
WITH drawn AS (
    SELECT n, random() AS luck, round((random() * 30)::numeric, 2)::float8 AS weight,
           round((random() * 3000)::numeric, 1)::float8 AS distance,
           CASE WHEN n * 7919 % 100 < 5 THEN 'emu' ELSE (ARRAY['ant', 'bee', 'cat'])[1 + n % 3] END AS carrier,
           n % 5 = 0 AS fragile
    FROM generate_series(0, {DAYS * ROWS_A_DAY - 1}) AS n
)
SELECT 'parcel-' || to_char(n, 'FM000000') AS parcel_id,
       cast(:start AS timestamptz) + n * interval '24 hours' / {ROWS_A_DAY} AS sent_at,
       weight, distance, carrier, fragile,
       CASE WHEN luck < 1 / (1 + exp(2.2 - 2.2 * (distance / 1500 - 1) - 1.2 * (carrier = 'cat')::int
                                     - 1.5 * (fragile AND distance > 1500)::int))
            THEN 'late' ELSE 'on_time' END AS outcome
FROM drawn
"""


@dataclass(frozen=True)
class Harness:
    resources: Resources
    spec: ModelSpec

    def variant(self, name: str, *, spec: tuple[str, str] = ("", ""), query: tuple[str, str] = ("", "")) -> ModelSpec:
        """The same model, declared with a change, in a folder of its own."""
        models = self.resources.settings.home / name
        return declare_model(models, "parcels", spec=SPEC.replace(*spec), query=QUERY.replace(*query))

    def built(self, estimator: Callable[[Columns], Any]) -> ModelSpec:
        return self.spec.model_copy(update={"estimator": estimator})

    def exported(self, spec: ModelSpec, run: str) -> ExportedCandidate:
        return pipeline.retrain(spec, run, TODAY, self.resources, report=None, until="export", again=True).exported

    def judged(self, spec: ModelSpec, run: str, *, really: bool = False) -> tuple[Decision, Any]:
        """Everything up to the decision, as the pipeline does it; `really` rehearsed by the service, or timed here."""
        exported = self.exported(spec, run)
        evaluation = pipeline.evaluate_candidate(spec, exported, self.resources)
        rehearsal = pipeline.rehearse_candidate(spec, exported, self.resources) if really else timed(spec, exported)
        evidence = gather_evidence(spec, evaluation, rehearsal, self.resources)
        return decide(evidence, spec.policy), evaluation


def timed(spec: ModelSpec, exported: ExportedCandidate) -> Rehearsal:
    """Measure size and latency of the real scorer, row by row from JSON values, as the service asks it.

    Processor time, so that a machine with something else to do does not decide.
    """
    folder = Path(exported.fitted.folder)
    files = VerifiedFiles(folder, exported.digests)
    scorer, golden = load_scorer(files), load_golden(files)
    encoder, took = RowEncoder(scorer.signature), []
    for row in [each.features for each in golden] * 10:
        started = time.thread_time()
        scorer.score(encoder.encode([row]))
        took.append(1000 * (time.thread_time() - started))
    return Rehearsal(
        model=spec.name,
        artifact_digest="not yet registered",
        ready=True,
        golden_rows=len(golden),
        golden_exact=True,
        malformed_refused=True,
        requests=len(took),
        latency_p50_ms=float(np.quantile(took, 0.5)),
        latency_p99_ms=float(np.quantile(took, 0.99)),
        size_bytes=sum((folder / name).stat().st_size for name in exported.digests),
        seconds=sum(took) / 1000,
    )


@pytest.fixture(scope="module")
def harness(new_database: Callable[[], str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Harness]:
    settings = Settings(home=tmp_path_factory.mktemp("home"), database_url=new_database())
    with open_resources(settings) as resources:
        with resources.engine.begin() as connection:
            connection.execute(text("SELECT setseed(0.42)"))
            connection.execute(text(TABLE), {"start": TODAY.replace(hour=0) - timedelta(days=DAYS)})
        spec = declare_model(settings.home / "models", "parcels", spec=SPEC, query=QUERY)
        exported = Harness(resources, spec).exported(spec, "champion")
        evaluation = pipeline.evaluate_candidate(spec, exported, resources)
        lenient = spec.model_copy(update={"gates": spec.gates[:1]})
        champion = pipeline.evaluate_gates(lenient, exported, evaluation, None, resources)
        pipeline.promote_candidate(spec, champion, "ann", resources)
        yield Harness(resources, spec)


def stopped_by(decision: Decision) -> dict[str, str]:
    return {gate.gate: gate.sentence for gate in decision.gates if not gate.passed}


def test_a_good_candidate_passes_every_gate(harness: Harness) -> None:
    from sklearn.ensemble import GradientBoostingClassifier

    other = harness.built(
        lambda _: GradientBoostingClassifier(n_estimators=70, max_depth=3, subsample=0.8, random_state=2)
    )
    decision, evaluation = harness.judged(other, "good")
    assert stopped_by(decision) == {}
    assert evaluation.differences["roc_auc"].standard_error > 0
    assert (evaluation.reused_by, evaluation.champion_version) == ((1,), 1)


def test_worse_by_a_hundredth_of_auc(harness: Harness) -> None:
    from sklearn.ensemble import GradientBoostingClassifier

    weak = harness.built(
        lambda _: GradientBoostingClassifier(n_estimators=60, max_depth=1, subsample=0.8, random_state=2)
    )
    decision, evaluation = harness.judged(weak, "weak")
    assert -0.016 < evaluation.differences["roc_auc"].value < -0.004
    stopped = stopped_by(decision)
    assert list(stopped) == ["non_inferiority"]
    assert ", champion (version 1) 0." in stopped["non_inferiority"]
    assert ", difference -0.0" in stopped["non_inferiority"]
    assert stopped["non_inferiority"].endswith("; limit -0.0050: failed")


def test_trained_on_a_feature_that_leaks_the_label(harness: Harness) -> None:
    refund = "CASE WHEN outcome = 'late' THEN 5.0 ELSE 0.0 END + weight / 10 AS refund"
    leaky = harness.variant(
        "leaky",
        spec=("  # more features", '\n        Numeric(name="refund", unit="euro", minimum=0, maximum=50),'),
        query=("SELECT parcel_id,", f"SELECT {refund}, parcel_id,"),
    )
    decision, _ = harness.judged(leaky, "leaky")
    stopped = stopped_by(decision)
    assert list(stopped) == ["no_leakage"]
    assert stopped["no_leakage"].startswith("possible label leakage, strength of single features: refund 0.99")


def test_one_feature_constant(harness: Harness) -> None:
    broken = harness.variant("constant", query=("weight, distance", "7.0::float8 AS weight, distance"))
    decision, _ = harness.judged(broken, "constant")
    assert stopped_by(decision) == {
        "no_constant_feature": (
            "constant features: 1 of 4: weight (in all training and holdout rows); limit 0; correct the source: failed"
        )
    }


def test_miscalibrated(harness: Harness) -> None:
    from sklearn.ensemble import RandomForestClassifier

    loud = harness.built(
        lambda _: RandomForestClassifier(
            n_estimators=30, max_depth=6, min_samples_leaf=40, class_weight="balanced", max_features=None
        )
    )
    decision, evaluation = harness.judged(loud, "loud")
    stopped = stopped_by(decision)
    assert evaluation.candidate["ece"] > 0.1
    assert stopped["calibration"].startswith("ece: candidate 0.")
    assert stopped["calibration"].endswith("; limit at most 0.05: failed")
    assert set(stopped) <= {"calibration", "non_inferiority"}


def test_bad_on_one_carrier_only(harness: Harness) -> None:
    holdout = (TODAY.replace(hour=0) - timedelta(days=HOLDOUT_DAYS)).isoformat()
    turned = (
        f"CASE WHEN carrier = 'emu' AND sent_at < '{holdout}' THEN "
        "CASE WHEN distance < 1500 THEN 'late' ELSE 'on_time' END ELSE outcome END AS outcome"
    )
    unfair = harness.variant("unfair", query=("fragile, outcome", f"fragile, {turned}"))
    decision, evaluation = harness.judged(unfair, "unfair")
    stopped = stopped_by(decision)
    told = stopped["slice_threshold"]
    assert told.startswith("roc_auc: 1 of 4 slices beyond the limit: 0.")
    assert told.endswith("; limit at least 0.6: failed")
    assert "where carrier = emu (3" in told
    assert set(stopped) <= {"slice_threshold", "non_inferiority"}
    assert any("carrier = emu" in each.name for each in evaluation.worst_slices)  # and found by itself


def test_too_large(harness: Harness) -> None:
    from sklearn.ensemble import RandomForestClassifier

    huge = harness.built(lambda _: RandomForestClassifier(n_estimators=100, min_samples_leaf=10))
    decision, _ = harness.judged(huge, "huge", really=True)
    stopped = stopped_by(decision)
    assert stopped["artifact_size"].endswith(" MiB; limit 1 MiB: failed")
    assert set(stopped) <= {"artifact_size", "non_inferiority", "latency"}  # a busy machine is slow, too


def test_too_slow(harness: Harness) -> None:
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    slow = harness.built(lambda _: make_pipeline(StandardScaler(), KNeighborsClassifier(75))).model_copy(
        update={"window": TrainingWindow(train=timedelta(days=10), holdout=timedelta(days=4))}
    )
    decision, _ = harness.judged(slow, "slow", really=True)
    stopped = stopped_by(decision)
    assert stopped["latency"].startswith("latency p99: ")
    assert stopped["latency"].endswith(" ms; limit 10 ms: failed")
    assert "artifact_size" not in stopped


def test_converted_wrongly(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    faithful = candidates.export_onnx

    def faulty(spec: ModelSpec, estimator: Any) -> bytes:
        """What a wrong converter would give: the leaves of the trees are a fiftieth too large."""
        graph = onnx.load_from_string(faithful(spec, estimator))
        (trees,) = [node for node in graph.graph.node if node.op_type == "TreeEnsemble"]
        (leaves,) = [each for each in trees.attribute if each.name == "leaf_weights"]
        leaves.t.CopyFrom(onnx.numpy_helper.from_array(1.02 * onnx.numpy_helper.to_array(leaves.t), leaves.t.name))
        return bytes(graph.SerializeToString())

    monkeypatch.setattr(candidates, "export_onnx", faulty)
    exported = harness.exported(harness.spec, "faulty")
    with pytest.raises(
        ConversionError,
        match=r"differently from scikit-learn .* the holdout: 6,000 rows, largest difference 0",
    ):
        pipeline.check_parity(harness.spec, exported, harness.resources)
    decision, _ = harness.judged(harness.spec, "faulty")
    stopped = stopped_by(decision)
    assert list(stopped) == ["onnx_parity"]
    assert stopped["onnx_parity"].startswith("ONNX and scikit-learn on ")
