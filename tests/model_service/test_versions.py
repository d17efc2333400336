"""Asking a version by its number, and asking which versions there are."""

from __future__ import annotations

import threading
import time
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from model_service.db.executor import QueryExecutor
from model_service.models import version_cache as version_cache_module
from model_service.models.version_cache import VersionCache
from tests.graphs import failing_graph, with_graph

SETOSA = [5.1, 3.5, 1.4, 0.2]


def ask(service: Any, version: object, name: str = "iris") -> Any:
    return service.client.post(f"/v1/models/{name}/versions/{version}/predict", json={"features": SETOSA})


@pytest.fixture
def three(service: Any) -> Any:
    """Three versions of iris; the second is the champion, the third was never promoted."""
    service.harness.declare("iris", "empty_one")
    service.harness.champion("iris", 0)
    service.harness.champion("iris", 1)
    service.harness.register("iris", 2)
    service.watcher.poll_once()
    return service


def test_any_registered_version_answers_also_one_that_was_never_promoted(three: Any) -> None:
    answers = [ask(three, version).get_json() for version in (1, 2, 3)]
    assert [answer["version"] for answer in answers] == [1, 2, 3]
    digests = [three.harness.ledger.version("iris", version).artifact_digest for version in (1, 2, 3)]
    assert [answer["artifact_digest"] for answer in answers] == digests
    assert three.predict("iris", SETOSA).get_json()["version"] == 2


@pytest.mark.parametrize("version", [4, 0, "03", "x", "-1", "1.0", 2**31, "9" * 3000, "%20", "٣"])
def test_a_version_that_does_not_exist_is_404_with_those_that_do(three: Any, version: object) -> None:
    response = ask(three, version)
    assert response.status_code == 404
    assert response.get_json()["type"] == "urn:sluice:problem:unknown-version"
    assert response.get_json()["existing"] == [1, 2, 3]


def test_a_version_of_an_unknown_model_is_404_too(three: Any) -> None:
    assert ask(three, 1, "irs").get_json()["type"] == "urn:sluice:problem:unknown-model"
    assert ask(three, 1, "empty_one").get_json()["existing"] == []


def test_a_version_whose_artifact_was_altered_is_refused_and_the_others_answer(
    three: Any, caplog: pytest.LogCaptureFixture
) -> None:
    onnx = Path(three.harness.store.locate("iris", 3)) / "model.onnx"
    onnx.write_bytes(onnx.read_bytes()[:-1] + b"x")
    response = ask(three, 3)
    assert response.status_code == 503
    assert response.get_json()["type"] == "urn:sluice:problem:artifact-verification-failed"
    assert "/" not in response.get_json()["detail"], "the path is for the log, not for callers"
    assert str(onnx) in caplog.text
    assert ask(three, 1).status_code == 200


@pytest.mark.parametrize("known", [0, 50], ids=["at its golden rows", "at any row"])
def test_a_version_whose_graph_fails_when_it_runs_is_refused_like_an_altered_one(
    three: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, known: int
) -> None:
    graph = failing_graph(4, 3, known=known)
    failing = with_graph(three.harness.candidates("iris", 0), tmp_path / "failing", graph)
    monkeypatch.setattr(three.harness, "candidates", lambda *_: failing)
    three.harness.register("iris")
    response = ask(three, 4)
    assert response.status_code == 503
    assert response.get_json()["type"] == "urn:sluice:problem:artifact-verification-failed"
    assert "version 4 of 'iris' cannot be loaded" in response.get_json()["detail"]
    assert "ONNX Runtime fails when it runs" in caplog.text


def test_a_version_whose_files_cannot_be_read_is_refused_too(three: Any) -> None:
    folder = Path(three.harness.store.locate("iris", 3))
    folder.rename(folder.with_name("elsewhere"))
    folder.write_text("a file where a folder was")
    response = ask(three, 3)
    assert response.status_code == 503
    assert response.get_json()["type"] == "urn:sluice:problem:artifact-verification-failed"


def cache_of(service: Any, capacity: int) -> VersionCache:
    executor = QueryExecutor(service.harness.engine, timeout=5, ledger_engine=service.harness.engine)
    return VersionCache(executor, service.harness.store, capacity)


def test_only_so_many_versions_are_kept_and_the_one_not_asked_the_longest_makes_way(three: Any) -> None:
    served = three.registry["iris"]
    version_cache = cache_of(three, capacity=2)
    three.harness.register("iris", 3)
    for version in ("1", "3", "1", "4"):
        assert version_cache.get(served, version).version == int(version)
    assert [each.version for each in version_cache] == [1, 4]
    version_cache.get(served, "2")  # the champion is in memory already
    assert len(version_cache) == 2


def test_many_first_requests_at_once_load_a_version_once(three: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    loads: list[int] = []
    really = version_cache_module.load_version

    def counted(artifacts: Any, version: Any) -> Any:
        loads.append(version.version)
        time.sleep(0.05)
        return really(artifacts, version)

    monkeypatch.setattr(version_cache_module, "load_version", counted)
    version_cache = cache_of(three, capacity=2)
    found: list[Any] = []
    threads = [
        threading.Thread(target=lambda: found.append(version_cache.get(three.registry["iris"], "1"))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert loads == [1]
    assert len(found) == 8
    assert len({id(each) for each in found}) == 1


def test_without_a_database_what_is_in_memory_answers_and_the_rest_is_503(three: Any) -> None:
    served = three.registry["iris"]
    version_cache = cache_of(three, capacity=2)
    version_cache.get(served, "1")
    version_cache._executor = None
    assert version_cache.get(served, "1").version == 1
    assert version_cache.get(served, "2").version == 2
    with pytest.raises(version_cache_module.LedgerUnavailableError):
        version_cache.get(served, "3")


def test_the_versions_of_a_model_are_told_with_how_they_did_and_who_promoted_them(three: Any) -> None:
    answer = three.client.get("/v1/models/iris/versions").get_json()
    assert [(each["version"], each["champion"]) for each in answer["versions"]] == [(1, False), (2, True), (3, False)]
    second = answer["versions"][1]
    assert second["promotions"][0]["by"] == "tests"
    assert second["promotions"][0]["reason"] == "to see it served"
    assert second["promotions"][0]["from_version"] == 1
    assert answer["versions"][2]["promotions"] == []


def test_which_version_was_champion_at_a_time_is_one_question(three: Any) -> None:
    first, second = three.harness.ledger.promotions("iris")

    def champion_at(at: str) -> list[int]:
        response = three.client.get(f"/v1/models/iris/versions?at={quote(at)}")
        assert response.status_code == 200, response.text
        return [each["version"] for each in response.get_json()["versions"] if each["champion"]]

    assert champion_at((first.promoted_at - timedelta(seconds=1)).isoformat()) == []
    assert champion_at(first.promoted_at.isoformat()) == [1]
    assert champion_at((second.promoted_at - timedelta(microseconds=1)).isoformat()) == [1]
    assert champion_at(second.promoted_at.isoformat().replace("+00:00", "z")) == [2]
    assert champion_at("2999-01-01T00:00:00Z") == [2]
    assert champion_at("2999-01-01T00:00:00 05:00") == [2]  # a plus sign that nobody escaped


@pytest.mark.parametrize(
    "at", ["", "yesterday", "2026-11-23", "2026-11-23T12:00:00", "2026-13-01T00:00:00Z", "20261123T120000Z"]
)
def test_a_time_that_is_none_is_400_and_says_how_one_is_written(three: Any, at: str) -> None:
    response = three.client.get("/v1/models/iris/versions", query_string={"at": at})
    assert response.status_code == 400
    assert response.get_json()["type"] == "urn:sluice:problem:invalid-parameter"
    assert "RFC 3339" in response.get_json()["detail"]


def test_one_model_is_told_with_its_signature_and_its_promotion(three: Any) -> None:
    answer = three.client.get("/v1/models/iris").get_json()
    assert (answer["version"], answer["promoted_by"], answer["reason"]) == (2, "tests", "to see it served")
    assert answer["signature"]["features"] == answer["features"]
    assert answer["metrics"] == {}
    assert three.client.get("/v1/models/empty_one").get_json()["version"] is None
    assert three.client.get("/v1/models/irs").status_code == 404
