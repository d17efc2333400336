"""What a worker serves follows the ledger; whatever is wrong with a new version, the old one stays."""

from __future__ import annotations

import json
import pickle
import shutil
import weakref
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from include.inference import Scorer
from include.records import ModelVersion
from include.registry import Ledger
from include.steps.deletion import remove_from_database
from include.warehouse import open_engine
from model_service.http.redaction import without_paths
from model_service.models.champion_watcher import ChampionWatcher
from model_service.models.registry import LoadedModel
from tests.graphs import failing_graph, with_graph

SETOSA = [5.1, 3.5, 1.4, 0.2]
BORDER = [6.0, 2.7, 5.1, 1.6]  # versions differ on this one


def version_of(service: Any) -> int:
    return service.predict("iris", SETOSA).get_json()["version"]


def test_before_the_ledger_was_read_nothing_is_ready_but_the_service_lives(service: Any, harness: Any) -> None:
    harness.declare("iris")
    assert service.client.get("/health").get_json() == {"status": "alive"}
    assert service.client.get("/ready").status_code == 503


def test_it_is_ready_when_every_declared_model_that_has_a_champion_is_loaded(service: Any, harness: Any) -> None:
    harness.declare("iris", "trip")
    service.watcher.poll_once()
    nothing_yet = service.client.get("/ready")
    assert nothing_yet.status_code == 503
    assert nothing_yet.get_json()["models"]["iris"]["state"] == "no_champion"
    harness.champion("iris")
    service.watcher.poll_once()
    ready = service.client.get("/ready")
    assert ready.status_code == 200
    assert ready.get_json()["models"]["iris"] == {
        "state": "serving",
        "message": "serving the champion, version 1",
        "version": 1,
        "champion": 1,
        "load_error": None,
    }
    assert ready.get_json()["models"]["trip"]["state"] == "no_champion"


def test_a_promotion_and_a_rollback_are_followed(service: Any, harness: Any) -> None:
    harness.declare("iris")
    harness.champion("iris", seed=0)
    service.watcher.poll_once()
    first = service.predict("iris", BORDER).get_json()
    harness.champion("iris", seed=1)
    assert version_of(service) == 1
    service.watcher.poll_once()
    second = service.predict("iris", BORDER).get_json()
    assert (first["version"], second["version"]) == (1, 2)
    assert first["artifact_digest"] != second["artifact_digest"]
    harness.promote("iris", 1)
    service.watcher.poll_once()
    assert service.predict("iris", BORDER).get_json()["prediction"] == first["prediction"]


def test_a_deleted_model_is_not_served_any_more_and_a_new_version_of_the_name_is(service: Any, harness: Any) -> None:
    harness.declare("iris")
    harness.champion("iris", seed=0)
    harness.champion("iris", seed=1)
    service.watcher.poll_once()
    one = "/v1/models/iris/versions/1/predict"
    body = {"features": SETOSA}
    assert service.client.post(one, json=body).status_code == 200
    remove_from_database("iris", "ann", "replaced by another model", harness.engine)
    service.watcher.poll_once()  # the declaration is still on this host
    assert service.predict("iris", SETOSA).status_code == 503
    refused = service.client.post(one, json=body)
    assert refused.status_code == 404
    assert "deleted" in refused.get_json()["detail"]
    assert service.client.get("/v1/models/iris/versions").get_json()["versions"] == []
    harness.register("iris", seed=2)
    harness.ledger.promote(
        "iris", 3, actor="ann", reason="the first of the new model", evidence_digest="e", expected_sequence=0
    )
    service.watcher.poll_once()
    assert version_of(service) == 3
    assert service.client.post(one, json=body).status_code == 404


def test_the_former_model_is_gone_before_free_memory_is_given_back(
    service: Any, harness: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness.declare("iris")
    harness.champion("iris")
    service.watcher.poll_once()
    former = weakref.ref(service.registry["iris"].current.scorer)
    gone: list[bool] = []
    monkeypatch.setattr("model_service.models.champion_watcher.trim_heap", lambda: gone.append(former() is None))
    harness.champion("iris", seed=1)
    service.watcher.poll_once()
    assert gone == [True]


def test_a_version_registered_but_not_promoted_is_not_served(service: Any, harness: Any) -> None:
    harness.declare("iris")
    harness.champion("iris")
    harness.register("iris", seed=1)
    service.watcher.poll_once()
    assert version_of(service) == 1


def test_an_artifact_with_one_byte_changed_is_refused_and_the_old_version_goes_on(service: Any, harness: Any) -> None:
    harness.declare("iris")
    harness.champion("iris")
    service.watcher.poll_once()
    harness.champion("iris", seed=1)
    graph = Path(harness.store.locate("iris", 2)) / "model.onnx"
    content = bytearray(graph.read_bytes())
    content[len(content) // 2] ^= 1
    graph.write_bytes(content)
    service.watcher.poll_once()
    assert version_of(service) == 1
    ready = service.client.get("/ready")
    state = ready.get_json()["models"]["iris"]
    assert ready.status_code == 200
    assert (state["version"], state["champion"], state["state"]) == (1, 2, "serving")
    assert state["message"] == "serving version 1; the champion, version 2, could not be loaded"
    assert "model.onnx: expected SHA-256" in state["load_error"]


def test_a_refused_artifact_that_is_restored_is_served_without_a_new_promotion(service: Any, harness: Any) -> None:
    harness.declare("iris")
    harness.champion("iris")
    graph = Path(harness.store.locate("iris", 1)) / "model.onnx"
    content = graph.read_bytes()
    graph.write_bytes(content[:-1])
    service.watcher.poll_once()
    refused = service.predict("iris", SETOSA)
    assert refused.status_code == 503
    assert "its champion could not be loaded. GET /ready reports the cause" in refused.get_json()["detail"]
    assert str(Path(harness.store.locate("iris", 1))) not in refused.text, (
        "a path is for those who may ask about models"
    )
    ready = service.client.get("/ready")
    assert ready.status_code == 503
    assert "could not be loaded" in ready.get_json()["models"]["iris"]["load_error"]
    graph.write_bytes(content)
    service.watcher._retries.clear()  # its pause is over
    service.watcher.poll_once()
    assert version_of(service) == 1
    assert service.client.get("/ready").get_json()["models"]["iris"]["load_error"] is None


def test_golden_rows_that_are_answered_otherwise_keep_the_version_out(
    service: Any, harness: Any, tmp_path: Path, monkeypatch: Any
) -> None:
    harness.declare("iris")
    harness.champion("iris")
    service.watcher.poll_once()
    forged = tmp_path / "forged"
    forged.mkdir()
    for file in harness.candidates("iris", 1).iterdir():
        (forged / file.name).write_bytes(file.read_bytes())
    golden = json.loads((forged / "golden.json").read_text())
    golden[0]["answer"] = [0.0, 0.5, 0.5]
    (forged / "golden.json").write_text(json.dumps(golden))
    monkeypatch.setattr(harness, "candidates", lambda *_: forged)
    harness.champion("iris")
    service.watcher.poll_once()
    assert version_of(service) == 1
    assert "golden row 0" in service.registry["iris"].load_error


class Told:
    """A listener that keeps what it is told."""

    def __init__(self) -> None:
        self.swaps: list[str] = []
        self.refusals: list[tuple[str, int, str]] = []

    def on_reload(self, model: str) -> None:
        self.swaps.append(model)

    def on_load_failure(self, model: str, version: int, reason: str) -> None:
        self.refusals.append((model, version, reason))


@pytest.fixture
def told(service: Any) -> Told:
    service.watcher._listener = Told()
    return service.watcher._listener


def as_callers_see(refusals: list[tuple[str, int, str]]) -> list[tuple[str, int, str]]:
    """Return refusals, whose text names files with their folders, as a response does."""
    return [(model, version, without_paths(why)) for model, version, why in refusals]


def refused_but_the_others_are_followed(service: Any, told: Told, why: str) -> None:
    """Take a turn at which iris has a new champion that is refused, and trip its first one."""
    told.swaps.clear()
    service.watcher.poll_once()
    assert version_of(service) == 1
    state = service.client.get("/ready").get_json()["models"]["iris"]
    assert (state["version"], state["champion"], state["state"]) == (1, 2, "serving")
    assert state["message"] == "serving version 1; the champion, version 2, could not be loaded"
    assert why in state["load_error"]
    assert as_callers_see(told.refusals) == [("iris", 2, state["load_error"])]
    assert told.swaps == ["trip"]


@pytest.mark.parametrize("known", [0, 50], ids=["at its golden rows", "at any row"])
def test_a_graph_that_fails_when_it_runs_is_refused_and_other_models_are_followed(
    service: Any, harness: Any, told: Told, tmp_path: Path, monkeypatch: Any, known: int
) -> None:
    harness.declare("iris", "trip")
    harness.champion("iris")
    service.watcher.poll_once()
    graph = failing_graph(4, 3, known=known)
    failing = with_graph(harness.candidates("iris", 1), tmp_path / "failing", graph)
    with monkeypatch.context() as patch:
        patch.setattr(harness, "candidates", lambda *_: failing)
        harness.champion("iris")
    harness.champion("trip")
    refused_but_the_others_are_followed(service, told, "ONNX Runtime fails when it runs")


def test_an_artifact_that_cannot_be_read_is_refused_and_told(service: Any, harness: Any, told: Told) -> None:
    harness.declare("iris", "trip")
    harness.champion("iris")
    service.watcher.poll_once()
    harness.champion("iris", seed=1)
    harness.champion("trip")
    folder = Path(harness.store.locate("iris", 2))
    folder.rename(folder.with_name("elsewhere"))
    folder.write_text("a file where a folder was")
    refused_but_the_others_are_followed(service, told, "loading it fails: NotADirectoryError")


def test_an_unexpected_error_is_a_load_failure_like_any_other(
    service: Any, harness: Any, told: Told, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    harness.declare("iris", "trip")
    harness.champion("iris")
    service.watcher.poll_once()
    harness.champion("iris", seed=1)
    harness.champion("trip")
    really = LoadedModel

    def loaded(scorer: Scorer, version: ModelVersion, *others: Any) -> LoadedModel:
        if (version.model, version.version) == ("iris", 2):
            raise RuntimeError("unexpected")
        return really(scorer, version, *others)

    monkeypatch.setattr("model_service.models.champion_watcher.LoadedModel", loaded)
    refused_but_the_others_are_followed(service, told, "RuntimeError: unexpected")
    assert "test_champion_watcher.py:" in caplog.text


def test_a_ledger_that_fails_while_a_version_is_loaded_is_no_fault_of_the_artifact(
    service: Any, harness: Any, told: Told
) -> None:
    harness.declare("iris")
    harness.champion("iris")

    class HalfDown(Ledger):
        def version(self, model: str, version: int) -> ModelVersion:
            return Ledger(open_engine("postgresql://nobody:x@127.0.0.1:1/gone")).version(model, version)

    service.watcher._ledger = HalfDown(harness.engine)
    service.watcher.poll_once()
    assert "OperationalError" in service.registry["iris"].load_error
    assert told.refusals == []


# -- a promotion that nobody checked ---------------------------------------------------------------

REGISTERED_BY_HAND = """
INSERT INTO sluice.model_version (model, version, artifact_digest, spec_digest, data_digest, run_id, evaluation,
    decision, evidence_digest)
SELECT model, :version, coalesce(CAST(:digest AS text), artifact_digest), spec_digest, data_digest, 'by hand',
    evaluation, decision, evidence_digest
FROM sluice.model_version WHERE model = 'iris' AND version = 1;
"""
PROMOTED_BY_HAND = """
INSERT INTO sluice.promotion (model, sequence, from_version, to_version, actor, reason, evidence_digest)
VALUES ('iris', 2, 1, :version, 'psql', 'promoted by hand', 'none')
"""


def promote_by_hand(harness: Any, digest: str | None = None) -> None:
    """Register and promote version 2 of iris with SQL alone; by default with the digest of version 1."""
    with harness.engine.begin() as connection:
        connection.execute(text("SET LOCAL session_replication_role = replica"))  # no trigger, as a superuser may
        connection.execute(text(REGISTERED_BY_HAND), {"version": 2, "digest": digest})
        connection.execute(text(PROMOTED_BY_HAND), {"version": 2})


def copied_artifact(harness: Any) -> Path:
    """Copy the folder of version 1 to that of version 2."""
    first = Path(harness.store.locate("iris", 1))
    return Path(shutil.copytree(first, first.with_name("2")))


@pytest.mark.parametrize("digest", [None, "f" * 64], ids=["the digest that is served", "another digest"])
@pytest.mark.parametrize("folder", ["none", "a copy of version 1"])
def test_a_version_promoted_by_sql_is_served_only_if_its_own_folder_is_what_the_ledger_says(
    service: Any, harness: Any, told: Told, caplog: pytest.LogCaptureFixture, digest: str | None, folder: str
) -> None:
    harness.declare("iris")
    harness.champion("iris")
    service.watcher.poll_once()
    told.swaps.clear()
    if folder != "none":
        copied_artifact(harness)
    promote_by_hand(harness, digest)
    service.watcher.poll_once()
    assert version_of(service) == 1
    state = service.client.get("/ready").get_json()["models"]["iris"]
    assert state["message"] == "serving version 1; the champion, version 2, could not be loaded"
    assert "continuing to serve version 1" in state["load_error"]
    assert as_callers_see(told.refusals) == [("iris", 2, state["load_error"])], "an alert is raised"
    assert told.swaps == []
    assert "version 2 could not be loaded" in caplog.text


def test_a_version_that_does_not_exist_promoted_by_sql_changes_nothing(service: Any, harness: Any, told: Told) -> None:
    harness.declare("iris")
    harness.champion("iris")
    service.watcher.poll_once()
    with harness.engine.begin() as connection:
        connection.execute(text("SET LOCAL session_replication_role = replica"))
        connection.execute(text(PROMOTED_BY_HAND), {"version": 7})
    service.watcher.poll_once()
    assert version_of(service) == 1
    assert [each[:2] for each in told.refusals] == [("iris", 7)]


def test_a_folder_that_was_changed_is_looked_at_before_its_version_is_served_again(
    service: Any, harness: Any, told: Told
) -> None:
    """A rollback to what is in memory needs no new scorer, and its files are checked all the same."""
    harness.declare("iris")
    harness.champion("iris")
    service.watcher.poll_once()
    graph = Path(harness.store.locate("iris", 1)) / "model.onnx"
    content = graph.read_bytes()
    graph.write_bytes(content[:-1])
    harness.promote("iris", 1)
    service.watcher.poll_once()
    assert [each[:2] for each in told.refusals] == [("iris", 1)]
    assert version_of(service) == 1, "what is in memory was checked when it was loaded"
    graph.write_bytes(content)
    service.watcher._retries.clear()  # its pause is over
    service.watcher.poll_once()
    assert service.client.get("/ready").get_json()["models"]["iris"]["message"] == "serving the champion, version 1"


class Bomb:
    """A pickle that leaves a trace when somebody loads it."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> Any:
        return (Path.touch, (self.trace,))


def test_a_malicious_joblib_in_the_folder_is_never_loaded(
    service: Any, harness: Any, tmp_path: Path, monkeypatch: Any
) -> None:
    trace = tmp_path / "the bomb went off"
    armed = tmp_path / "armed"
    armed.mkdir()
    for file in harness.candidates("iris", 0).iterdir():
        (armed / file.name).write_bytes(file.read_bytes())
    (armed / "model.joblib").write_bytes(pickle.dumps(Bomb(trace)))
    monkeypatch.setattr(harness, "candidates", lambda *_: armed)
    harness.declare("iris")
    harness.champion("iris")
    service.watcher.poll_once()
    assert version_of(service) == 1
    assert not trace.exists()
    pickle.loads((Path(harness.store.locate("iris", 1)) / "model.joblib").read_bytes())  # noqa: S301  # the bomb is live
    assert trace.exists()


def test_a_joblib_planted_after_registration_keeps_the_artifact_out(service: Any, harness: Any, tmp_path: Path) -> None:
    harness.declare("iris")
    harness.champion("iris")
    folder = Path(harness.store.locate("iris", 1))
    (folder / "model.joblib").write_bytes(pickle.dumps(Bomb(tmp_path / "trace")))
    service.watcher.poll_once()
    assert service.predict("iris", SETOSA).status_code == 503
    assert not (tmp_path / "trace").exists()


def test_a_folder_added_later_is_served_without_a_restart(service: Any, harness: Any) -> None:
    harness.declare("iris")
    service.watcher.poll_once()
    assert service.predict("sugar", [0.0] * 10).status_code == 404
    harness.declare("sugar")
    harness.champion("sugar")
    service.watcher.poll_once()
    assert service.predict("sugar", [0.0] * 10).status_code == 200


def test_a_declaration_that_breaks_does_not_stop_its_champion(service: Any, harness: Any) -> None:
    harness.declare("iris", "trip")
    harness.champion("iris")
    service.watcher.poll_once()
    (harness.settings.models_dir / "iris" / "spec.py").write_text("this is not Python")
    service.watcher.poll_once()
    assert version_of(service) == 1
    ready = service.client.get("/ready")
    assert ready.status_code == 200
    assert "spec.py" in ready.get_json()["invalid_specs"]["iris"]


def test_with_the_ledger_down_what_is_loaded_goes_on(service: Any, harness: Any) -> None:
    harness.declare("iris")
    harness.champion("iris")
    service.watcher.poll_once()
    watcher: ChampionWatcher = service.watcher
    watcher._ledger = Ledger(open_engine("postgresql://nobody:x@127.0.0.1:1/gone"))
    watcher.poll_once()
    assert version_of(service) == 1
    ready = service.client.get("/ready")
    assert ready.status_code == 200
    assert "the ledger cannot be read" in ready.get_json()["ledger_error"]
    watcher._ledger = Ledger(harness.engine)
    watcher.poll_once()
    assert service.client.get("/ready").get_json()["ledger_error"] is None


def test_models_are_listed_with_what_they_take_and_since_when_they_answer(service: Any, harness: Any) -> None:
    harness.declare("iris", "trip")
    harness.champion("iris")
    service.watcher.poll_once()
    iris, trip = service.client.get("/v1/models").get_json()["models"]
    assert (iris["name"], iris["version"], iris["state"]) == ("iris", 1, "serving")
    assert iris["classes"] == ["setosa", "versicolor", "virginica"]
    assert [feature["name"] for feature in iris["features"]][:1] == ["sepal_length"]
    assert (iris["promoted_by"], iris["reason"]) == ("tests", "to see it served")
    assert (trip["name"], trip["version"], trip["state"]) == ("trip", None, "no_champion")
