"""Training twice: the same bytes where nothing is left to chance, and seen where something is."""

from __future__ import annotations

import hashlib

import pytest

from include import pipeline
from include.resources import Resources
from include.spec import ModelSpec
from tests.builders import SPEC, TODAY, declare_model, load_parcels

PLAIN = "return HistGradientBoostingClassifier(max_iter=20, max_leaf_nodes=7, early_stopping=False)"
LINEAR = """from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    return make_pipeline(SimpleImputer(), LogisticRegression(max_iter=200))"""
FOREST = """from sklearn.ensemble import RandomForestClassifier
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline

    return make_pipeline(SimpleImputer(), RandomForestClassifier(10, n_jobs=2))"""
# The clock decides how strongly it is regularised: what no seed can tame.
BY_THE_CLOCK = """import time

    return HistGradientBoostingClassifier(max_iter=20, max_leaf_nodes=7, l2_regularization=time.time_ns() % 10**9)"""


def declared(resources: Resources, estimator: str) -> ModelSpec:
    load_parcels(resources.engine)
    text = SPEC.replace(PLAIN, estimator).replace("retrain_schedule=None,", "retrain_schedule=None, reproducible=True,")
    assert estimator in text
    return declare_model(resources.settings.home / "models", spec=text)


def trained_twice(spec: ModelSpec, resources: Resources):
    snapshot = pipeline.take_snapshot(spec, TODAY, resources)
    exported = pipeline.export_candidate(spec, pipeline.train_candidate(spec, "run", snapshot, resources), resources)
    return pipeline.check_reproducibility(spec, exported, resources)


@pytest.mark.parametrize("estimator", [PLAIN, LINEAR, FOREST], ids=["boosting", "linear", "forest"])
def test_the_same_snapshot_declaration_and_seed_give_the_same_bytes(resources: Resources, estimator: str) -> None:
    exported = trained_twice(declared(resources, estimator), resources)
    assert exported.reproducibility is not None
    assert exported.reproducibility.passed
    assert exported.reproducibility.first_digest == exported.digests["model.onnx"]


def test_a_model_that_comes_out_differently_is_registered_and_rejected(resources: Resources) -> None:
    spec = declared(resources, BY_THE_CLOCK)
    exported = trained_twice(spec, resources)
    assert not exported.reproducibility.passed
    version = pipeline.evaluate_gates(
        spec, exported, pipeline.evaluate_candidate(spec, exported, resources), None, resources
    )
    assert not version.decision.accepted
    assert any(
        "model.onnx of a second training" in reason and "different bytes" in reason
        for reason in version.decision.reasons
    )


def test_a_model_declared_reproducible_that_was_trained_once_is_rejected(resources: Resources) -> None:
    spec = declared(resources, PLAIN)
    snapshot = pipeline.take_snapshot(spec, TODAY, resources)
    exported = pipeline.export_candidate(spec, pipeline.train_candidate(spec, "run", snapshot, resources), resources)
    compared = pipeline.evaluate_candidate(spec, exported, resources)
    version = pipeline.evaluate_gates(spec, exported, compared, None, resources)
    assert version.decision.reasons == ("digest: not measured (the candidate was trained only once): failed",)


def test_the_number_of_threads_changes_no_byte_of_a_model_declared_reproducible(resources: Resources) -> None:
    from threadpoolctl import threadpool_limits

    from include.training.data import read_training_data
    from include.training.export import export_onnx
    from include.training.fit import fit
    from include.training.reproducibility import single_threaded_blas

    spec = declared(resources, LINEAR)
    data = read_training_data(spec, pipeline.take_snapshot(spec, TODAY, resources))
    digests = set()
    for threads in (1, 2, 4):
        with threadpool_limits(threads), single_threaded_blas(spec):
            digests.add(hashlib.sha256(export_onnx(spec, fit(spec, data))).hexdigest())
    assert len(digests) == 1
