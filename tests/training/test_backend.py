"""The setting that chooses where joblib works: a real Dask cluster does the work, a missing library says so."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from include import pipeline
from include.errors import SettingsError, TrainingBackendError
from include.resources import Resources
from include.settings import load_settings
from include.training import Backend, read_training_data
from include.training.fit import load_fitted
from tests.builders import SPEC, TODAY, declare_model, load_parcels

FOREST = SPEC.replace(
    """    from sklearn.ensemble import HistGradientBoostingClassifier

    return HistGradientBoostingClassifier(max_iter=20, max_leaf_nodes=7, early_stopping=False)
""",
    """    from sklearn.ensemble import RandomForestClassifier
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline

    return make_pipeline(SimpleImputer(), RandomForestClassifier(n_estimators=12, max_depth=4))
""",
)
CLUSTER = """
import sys
from distributed import LocalCluster

# Processes of their own, so that no work can be done in the one that asks.
with LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster:
    print(cluster.scheduler_address, flush=True)
    sys.stdin.read()
"""


RAY = importlib.util.find_spec("ray") is not None
WITH_RAY = pytest.mark.skipif(
    not RAY, reason="SKIPPED: ray is not installed (100 MB that nothing else wants): uv pip install ray"
)


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """A Dask scheduler with two workers, each in a process of its own."""
    with subprocess.Popen(
        [sys.executable, "-c", f"if __name__ == '__main__':\n{_indented(CLUSTER)}"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        assert address.startswith("tcp://")
        yield address
        process.communicate(timeout=60)


def _indented(code: str) -> str:
    return "\n".join(f"    {line}" for line in code.splitlines())


@pytest.mark.slow
def test_a_forest_grows_on_a_dask_cluster_as_it_grows_at_home(
    cluster: str, resources: Resources, tmp_path: Path
) -> None:
    from distributed import Client

    assert_same_forest(resources, tmp_path, train_backend="dask", train_cluster_address=cluster)
    with Client(cluster) as client:
        done = client.run(lambda dask_worker: dask_worker.state.executed_count)
    assert sum(done.values()) >= 12, "the trees were grown by the cluster's workers"


@pytest.mark.slow
@WITH_RAY
def test_a_forest_grows_on_ray_as_it_grows_at_home(resources: Resources, tmp_path: Path) -> None:
    import joblib

    assert_same_forest(resources, tmp_path, train_backend="ray")
    with Backend("ray", jobs=2).active():
        workers = set(joblib.Parallel()(joblib.delayed(os.getpid)() for _ in range(8)))
    assert os.getpid() not in workers, "the work was done by Ray's processes"


@WITH_RAY
@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1", "no address"])
def test_a_ray_cluster_that_does_not_answer_is_an_error_at_once(address: str) -> None:
    with pytest.raises(TrainingBackendError, match="SLUICE_TRAIN_CLUSTER_ADDRESS"), Backend("ray", address).active():
        pass


def assert_same_forest(resources: Resources, tmp_path: Path, **backend: str) -> None:
    """Train with the settings of `backend`, and then at home."""
    spec = declare_model(tmp_path / "models", spec=FOREST)
    load_parcels(resources.engine)
    taken = pipeline.take_snapshot(spec, TODAY, resources)
    there = resources.settings.model_copy(update=backend)
    away = pipeline.train_candidate(spec, "away", taken, Resources(**{**_fields(resources), "settings": there}))
    home = pipeline.train_candidate(spec, "home", taken, resources)
    answers = [load_fitted(Path(each.folder) / "model.joblib", each.digests["model.joblib"]) for each in (away, home)]
    x = read_training_data(spec, taken).x_holdout
    assert (answers[0].predict_proba(x) == answers[1].predict_proba(x)).all(), "the same seed, the same forest"


def _fields(resources: Resources) -> dict[str, object]:
    return {name: getattr(resources, name) for name in Resources.__slots__}


@pytest.mark.parametrize("name", ["loky", "threading"])
def test_joblib_s_own_backends_are_chosen_with_the_number_of_jobs(name: str) -> None:
    import joblib

    with Backend(name, jobs=2).active():
        backend, jobs = joblib.parallel.get_active_backend()
        assert (type(backend).__name__.lower(), jobs) == (f"{name}backend", 2)


def test_with_nothing_set_joblib_is_left_alone() -> None:
    import joblib

    before = type(joblib.parallel.get_active_backend()[0])
    with Backend().active():
        assert type(joblib.parallel.get_active_backend()[0]) is before


def test_dask_without_an_address_says_which_setting_names_it() -> None:
    with pytest.raises(TrainingBackendError, match="Set SLUICE_TRAIN_CLUSTER_ADDRESS"), Backend("dask").active():
        pass


@pytest.mark.skipif(RAY, reason="SKIPPED: ray is installed, so nothing is missing")
def test_ray_that_is_not_installed_says_what_to_install() -> None:
    with pytest.raises(TrainingBackendError, match="ray is not installed"), Backend("ray").active():
        pass


def test_another_word_is_an_error_of_the_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLUICE_TRAIN_BACKEND", "spark")
    with pytest.raises(SettingsError, match="SLUICE_TRAIN_BACKEND"):
        load_settings()
