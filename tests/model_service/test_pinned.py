"""A service that is told what to serve: these versions and no others, with or without a database."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from include.errors import SettingsError
from include.registry import Manifest, file_digest
from include.settings import Pin, load_settings
from model_service.models.pinned import pinned_registry
from tests.graphs import failing_graph, with_graph

SETOSA = [5.1, 3.5, 1.4, 0.2]


def saved(harness: Any, name: str, version: int, seed: int) -> dict[str, Any]:
    """Put an artifact into the store that no ledger knows, as a rehearsal does, and return its pin."""
    source = harness.candidates(name, seed)
    files = {file.name: file_digest(file) for file in source.iterdir()}
    about = {"spec_digest": "s", "data_digest": "d", "code_digest": "c", "libraries": {}}
    manifest = Manifest(model=name, files=files, created_at=datetime.now(UTC), **about)
    return {"version": version, "artifact_digest": harness.store.put(source, manifest, version)}


def test_it_serves_the_pins_and_asks_no_database(harness: Any, run_service: Callable[..., Any]) -> None:
    harness.declare("iris", "trip")
    pin = saved(harness, "iris", 7, seed=1)
    service = run_service(SLUICE_SERVICE_PINNED_VERSIONS=json.dumps({"iris": pin}), SLUICE_DATABASE_URL=None)
    service.wait_until(lambda: service.ask("GET", "/ready")[0] == 200)

    ready = service.ask("GET", "/ready")[1]
    assert ready["models"] == {
        "iris": {
            "state": "pinned",
            "message": "serving version 7, as pinned",
            "version": 7,
            "champion": None,
            "load_error": None,
        }
    }
    status, answer = service.ask("POST", "/predict", {"features": SETOSA})
    assert (status, answer["version"], answer["artifact_digest"]) == (200, 7, pin["artifact_digest"])
    assert service.ask("POST", "/v1/models/iris/versions/7/predict", {"features": SETOSA})[0] == 200
    assert service.ask("POST", "/predict", {"features": ["long"]})[0] == 422
    assert service.ask("GET", "/v1/models/iris")[1]["artifact_digest"] == pin["artifact_digest"]
    # What needs a database says so, and what is not pinned is not there.
    assert service.ask("GET", "/v1/models/iris/scores/5")[0] == 503
    assert service.ask("POST", "/v1/models/iris/predict_async", {"features": [SETOSA]})[0] == 503
    assert service.ask("POST", "/v1/models/iris/versions/1/predict", {"features": SETOSA})[0] == 503
    assert service.ask("POST", "/v1/models/trip/predict", {"features": [1]})[0] == 404
    assert service.stop() == 0
    assert not list(harness.settings.home.glob("**/PG_VERSION")), "it started a database of its own"
    assert "Traceback" not in service.log.read_text()


def test_a_pin_is_served_although_another_version_is_champion(harness: Any, run_service: Callable[..., Any]) -> None:
    harness.declare("iris")
    harness.champion("iris")
    candidate = harness.register("iris", seed=1)
    pins = {"iris": {"version": candidate.version, "artifact_digest": candidate.artifact_digest}}
    service = run_service(SLUICE_SERVICE_PINNED_VERSIONS=json.dumps(pins))
    service.wait_until(lambda: service.ask("GET", "/ready")[0] == 200)
    harness.promote("iris", 1)
    assert service.ask("POST", "/predict", {"features": SETOSA})[1]["version"] == 2
    # With a database the rest is as ever.
    assert service.ask("GET", "/v1/models/iris/scores/5")[0] == 404
    assert service.ask("POST", "/v1/models/iris/versions/1/predict", {"features": SETOSA})[1]["version"] == 1


def test_a_pinned_artifact_that_was_changed_is_refused_and_told(harness: Any, run_service: Callable[..., Any]) -> None:
    harness.declare("iris")
    pin = saved(harness, "iris", 7, seed=1)
    with (Path(harness.store.locate("iris", 7)) / "model.onnx").open("ab") as graph:
        graph.write(b"x")
    service = run_service(SLUICE_SERVICE_PINNED_VERSIONS=json.dumps({"iris": pin}), SLUICE_DATABASE_URL=None)
    service.wait_until(lambda: service.ask("GET", "/health")[0] == 200)
    status, told = service.ask("GET", "/ready")
    assert (status, told["models"]["iris"]["state"]) == (503, "load_failed")
    assert "model.onnx: expected SHA-256" in told["models"]["iris"]["load_error"]
    assert service.ask("POST", "/predict", {"features": SETOSA})[0] == 503


def test_a_pinned_graph_that_fails_when_it_runs_is_refused_and_the_others_are_served(
    harness: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pins = {"trip": saved(harness, "trip", 3, seed=0)}
    failing = with_graph(harness.candidates("iris", 0), tmp_path / "failing", failing_graph(4, 3))
    monkeypatch.setattr(harness, "candidates", lambda *_: failing)
    pins["iris"] = saved(harness, "iris", 7, seed=0)
    registry = pinned_registry(
        harness.settings.model_copy(update={"service_pinned_versions": {m: Pin(**pin) for m, pin in pins.items()}})
    )
    assert registry["iris"].current is None
    assert "ONNX Runtime fails when it runs" in str(registry["iris"].load_error)
    assert registry["trip"].current is not None


@pytest.mark.parametrize("text", ["iris", '{"iris": 3}', '{"iris": {"version": 1, "artifact_digest": "x"}}'])
def test_a_pin_that_is_none_is_named(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLUICE_SERVICE_PINNED_VERSIONS", text)
    with pytest.raises(SettingsError, match="SLUICE_SERVICE_PINNED_VERSIONS"):
        load_settings()
