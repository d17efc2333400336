"""Asynchronous prediction: submitted, worked off part by part, fetched; and what can go wrong with it."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import signal
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime
from itertools import accumulate
from pathlib import Path
from typing import Any, cast

import jwt
import psutil
import pytest
from pydantic import SecretStr
from sqlalchemy import text

from include.records import ModelVersion
from include.registry import open_artifact_store
from include.settings import Pin
from model_service import ModelRegistry, create_app
from model_service.app import JOB_WORKER
from model_service.jobs.chunks import CHUNK_BYTES, CHUNK_ROWS, split_chunks
from model_service.jobs.repository import JobFilter
from model_service.jobs.worker import JobWorker
from model_service.models.champion_watcher import ChampionWatcher
from model_service.models.loading import load_artifact
from model_service.models.registry import LoadedModel

SETOSA = [5.1, 3.5, 1.4, 0.2]
VIRGINICA = [6.7, 3.0, 5.2, 2.3]
BORDER = [6.0, 2.7, 5.1, 1.6]  # versions differ on this one


@pytest.fixture
def jobs(service: Any, harness: Any) -> Any:
    """The service with a champion, whose job worker is turned by hand."""
    harness.declare("iris", "trip", "empty_one")
    harness.champion("iris")
    harness.champion("trip")
    service.watcher.poll_once()
    return service


def submit(service: Any, features: Any, name: str = "iris") -> Any:
    return service.client.post(f"/v1/models/{name}/predict_async", json={"features": features})


def turn(service: Any) -> bool:
    return bool(service.client.application.extensions[JOB_WORKER].run_once())


def job_of(service: Any, answer: Any) -> Any:
    return service.client.get(answer.headers["Location"]).get_json()


def predictions_of(service: Any, answer: Any) -> Any:
    """Return all predictions of a job, part by part."""
    return all_parts(lambda path: service.client.get(path).get_json(), answer.headers["Location"])


def all_parts(get: Callable[[str], Any], where: str) -> list[Any]:
    found: list[Any] = []
    offset: int | None = 0
    while offset is not None:
        part = get(f"{where}/predictions?offset={offset}")
        assert part["offset"] == offset == len(found)
        found += part["predictions"]
        offset = part["next_offset"]
    return found


def test_a_job_is_accepted_worked_off_and_fetched(jobs: Any) -> None:
    accepted = submit(jobs, [SETOSA, VIRGINICA])
    assert accepted.status_code == 202
    queued = accepted.get_json()
    assert accepted.headers["Location"] == f"/v1/jobs/{queued['id']}"
    assert (queued["state"], queued["rows"], queued["rows_done"]) == ("queued", 2, 0)
    assert jobs.client.get(f"{accepted.headers['Location']}/predictions").status_code == 409
    assert turn(jobs)
    done = job_of(jobs, accepted)
    assert (done["state"], done["rows_done"], done["version"]) == ("done", 2, 1)
    assert predictions_of(jobs, accepted) == jobs.predict("iris", [SETOSA, VIRGINICA]).get_json()["predictions"]
    assert datetime.fromisoformat(done["finished_at"]) < datetime.fromisoformat(done["expires_at"])
    assert not turn(jobs), "there is nothing more to do"


@pytest.mark.parametrize("count", [1, CHUNK_ROWS - 1, CHUNK_ROWS, CHUNK_ROWS + 1, 3 * CHUNK_ROWS + 7])
def test_whatever_the_number_of_rows_their_answers_come_in_order(jobs: Any, count: int) -> None:
    rows = [[4 + row % 40 / 10, 3.0, 1 + row % 50 / 10, 0.2] for row in range(count)]
    accepted = submit(jobs, rows)
    turn(jobs)
    assert predictions_of(jobs, accepted) == jobs.predict("iris", rows).get_json()["predictions"]


@pytest.mark.parametrize(
    "row", [SETOSA, {"sepal_length": 5.1, "sepal_width": 3.5, "petal_length": 1.4, "petal_width": 0.2}]
)
def test_a_single_row_is_a_job_too(jobs: Any, row: Any) -> None:
    accepted = submit(jobs, row)
    turn(jobs)
    (prediction,) = predictions_of(jobs, accepted)
    assert prediction["label"] == "setosa"


def test_a_job_is_bound_to_the_version_that_was_champion_when_it_was_submitted(jobs: Any, harness: Any) -> None:
    before = jobs.predict("iris", [BORDER]).get_json()["predictions"]
    accepted = submit(jobs, [BORDER])
    harness.champion("iris", seed=1)
    jobs.watcher.poll_once()
    assert jobs.predict("iris", [BORDER]).get_json()["version"] == 2
    turn(jobs)
    done = job_of(jobs, accepted)
    assert (done["version"], predictions_of(jobs, accepted)) == (1, before)


def test_what_is_wrong_at_the_start_is_told_at_once(jobs: Any, harness: Any) -> None:
    refused = submit(jobs, [SETOSA, ["x", 3, 1, 1]])
    assert refused.status_code == 422
    assert refused.get_json()["errors"][0]["path"] == "$.features[1][0]"
    for body, status in ((b"{", 400), (b"[]", 422), (b'{"features": [[1,2,3,4]], "features": [[1,2,3,4]]}', 422)):
        assert jobs.client.post("/v1/models/iris/predict_async", data=body).status_code == status
    assert submit(jobs, [SETOSA], "nobody").status_code == 404
    assert submit(jobs, [SETOSA], "empty_one").status_code == 503
    assert not turn(jobs)


def test_what_is_wrong_further_on_fails_the_job_and_names_the_rows(jobs: Any) -> None:
    rows = [SETOSA] * (CHUNK_ROWS + 3)
    rows[CHUNK_ROWS + 1] = [5.1, None, 1.4, 0.2]
    accepted = submit(jobs, rows)
    assert accepted.status_code == 202
    turn(jobs)
    failed = job_of(jobs, accepted)
    assert (failed["state"], failed["rows_done"]) == ("failed", CHUNK_ROWS)
    assert failed["error"]["errors"][0] == {
        "path": f"$.features[{CHUNK_ROWS + 1}][1]", "expected": "a number from 0 to 100 (cm)", "found": "null",
    }  # fmt: skip
    refused = jobs.client.get(f"{accepted.headers['Location']}/predictions")
    assert (refused.status_code, refused.get_json()["type"]) == (409, "urn:sluice:problem:job-not-done")
    assert failed["stored_bytes"] == 0


def test_more_rows_or_bytes_than_the_settings_allow_are_413(jobs: Any) -> None:
    few = jobs.harness.settings.model_copy(update={"service_job_max_rows": 3, "service_job_max_bytes": 2000})
    client = create_app(few, jobs.registry, jobs.harness.engine).test_client()
    assert client.post("/v1/models/iris/predict_async", json={"features": [SETOSA] * 3}).status_code == 202
    for rows, setting in ((4, "SLUICE_SERVICE_JOB_MAX_ROWS"), (1000, "SLUICE_SERVICE_JOB_MAX_BYTES")):
        refused = client.post("/v1/models/iris/predict_async", json={"features": [SETOSA] * rows})
        assert refused.status_code == 413
        assert setting in refused.get_json()["detail"]


def test_a_body_may_be_packed_but_holds_no_more_than_it_may_once_unpacked(jobs: Any) -> None:
    few = jobs.harness.settings.model_copy(update={"service_job_max_bytes": 2000})
    client = create_app(few, jobs.registry, jobs.harness.engine).test_client()
    for rows, status in ((50, 202), (1_000, 413)):
        body = gzip.compress(json.dumps({"features": [SETOSA] * rows}, separators=(",", ":")).encode(), 9)
        where, headers = "/v1/models/iris/predict_async", {"Content-Encoding": "gzip"}
        answer = client.post(where, data=body, headers=headers)
        assert answer.status_code == status
    assert "bytes after decompression" in answer.get_json()["detail"], "compressed it was small enough"
    assert "SLUICE_SERVICE_JOB_MAX_BYTES" in answer.get_json()["detail"], "its limit is named, not that of predictions"


def test_only_so_many_jobs_may_wait(jobs: Any) -> None:
    few = jobs.harness.settings.model_copy(update={"service_job_queue_limit": 2})
    client = create_app(few, jobs.registry, jobs.harness.engine).test_client()
    statuses = [client.post("/v1/models/iris/predict_async", json={"features": SETOSA}).status_code for _ in range(3)]
    assert statuses == [202, 202, 503]
    turn(jobs)
    assert client.post("/v1/models/iris/predict_async", json={"features": SETOSA}).status_code == 202


@pytest.mark.parametrize("state", ["queued", "done", "failed"])
def test_a_job_is_deleted_with_its_rows_and_predictions_whatever_its_state(jobs: Any, harness: Any, state: str) -> None:
    rows = [SETOSA] * (CHUNK_ROWS + 1)
    if state == "failed":
        rows[-1] = [None, 1, 1, 1]
    accepted = submit(jobs, rows)
    if state != "queued":
        turn(jobs)
    deleted = jobs.client.delete(accepted.headers["Location"])
    assert (deleted.status_code, deleted.get_json()["state"]) == (200, state)
    for method in (jobs.client.get, jobs.client.delete):
        assert method(accepted.headers["Location"]).status_code == 404
    assert not turn(jobs)
    with harness.engine.connect() as connection:
        for table in ("job", "job_chunk"):
            assert connection.execute(text(f"SELECT count(*) FROM sluice_jobs.{table}")).scalar_one() == 0


def test_a_job_that_runs_stops_at_the_next_part_when_it_is_deleted(jobs: Any, monkeypatch: Any) -> None:
    from model_service.jobs import worker as job_worker

    accepted = submit(jobs, [SETOSA] * (3 * CHUNK_ROWS))
    worked: list[int] = []

    def deleted_meanwhile(loaded: Any, part: Any) -> bytes:
        worked.append(part.first_row)
        jobs.client.delete(accepted.headers["Location"])
        return original(loaded, part)

    original = job_worker.predict_chunk
    monkeypatch.setattr(job_worker, "predict_chunk", deleted_meanwhile)
    turn(jobs)
    assert worked == [0]
    assert jobs.client.get(accepted.headers["Location"]).status_code == 404


@pytest.mark.parametrize("job", ["x", "2f1c9a52-6f0e-4c57-9d1f-5a1f3f0b8a11", "1;DROP TABLE sluice_jobs.job", "%00"])
def test_a_job_that_never_was_is_404(jobs: Any, job: str) -> None:
    for method in (jobs.client.get, jobs.client.delete):
        assert method(f"/v1/jobs/{job}").status_code == 404


def test_a_job_is_unknown_to_everybody_else(jobs: Any, harness: Any) -> None:
    accepted = submit(jobs, SETOSA)
    with harness.engine.begin() as connection:
        connection.execute(text("UPDATE sluice_jobs.job SET subject = 'somebody else'"))
    assert jobs.client.get(accepted.headers["Location"]).status_code == 404
    assert jobs.client.delete(accepted.headers["Location"]).status_code == 404
    assert turn(jobs), "it is worked off all the same"


def test_with_authentication_a_job_is_its_subjects_and_its_models(jobs: Any) -> None:
    secret = "0123456789abcdef0123456789abcdef"  # noqa: S105  # of this test
    guarded = jobs.harness.settings.model_copy(update={"auth_secret": SecretStr(secret)})
    client = create_app(guarded, jobs.registry, jobs.harness.engine).test_client()

    def bearer(subject: str, **more: Any) -> dict[str, str]:
        about = {"iss": "sluice", "aud": "sluice", "sub": subject, "exp": int(time.time()) + 60, "scope": "predict"}
        return {"Authorization": f"Bearer {jwt.encode(about | more, secret, 'HS256')}"}

    accepted = client.post("/v1/models/iris/predict_async", json={"features": SETOSA}, headers=bearer("shop"))
    assert accepted.status_code == 202
    where = accepted.headers["Location"]
    assert client.get(where, headers=bearer("shop")).status_code == 200
    assert client.get(where).status_code == 401
    assert client.get(where, headers=bearer("shop", scope="models")).status_code == 403
    assert client.get(where, headers=bearer("shop", models=["trip"])).status_code == 403
    for method in (client.get, client.delete):
        assert method(where, headers=bearer("another shop")).status_code == 404
    assert client.delete(where, headers=bearer("shop")).status_code == 200


def test_an_expired_job_is_gone_with_its_rows_and_answers(jobs: Any, harness: Any) -> None:
    accepted = submit(jobs, SETOSA)
    turn(jobs)
    with harness.engine.begin() as connection:
        connection.execute(text("UPDATE sluice_jobs.job SET expires_at = now() - interval '1 second'"))
    assert jobs.client.get(accepted.headers["Location"]).status_code == 404
    jobs.client.application.extensions[JOB_WORKER]._next_removal = 0
    turn(jobs)
    with harness.engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM sluice_jobs.job")).scalar_one() == 0
        assert connection.execute(text("SELECT count(*) FROM sluice_jobs.job_chunk")).scalar_one() == 0


# -- the result ------------------------------------------------------------------------------------


def result(service: Any, answer: Any, query: str = "") -> Any:
    return service.client.get(f"{answer.headers['Location']}/predictions{query}")


@pytest.mark.parametrize(
    ("offset", "limit"), [(0, 1), (1, 2), (CHUNK_ROWS - 1, 2), (CHUNK_ROWS, CHUNK_ROWS), (3, 3 * CHUNK_ROWS)]
)
def test_a_part_of_the_result_begins_and_ends_at_any_row(jobs: Any, offset: int, limit: int) -> None:
    rows = [[4 + row % 40 / 10, 3.0, 1 + row % 50 / 10, 0.2] for row in range(2 * CHUNK_ROWS + 7)]
    accepted = submit(jobs, rows)
    turn(jobs)
    whole = jobs.predict("iris", rows).get_json()["predictions"]
    part = result(jobs, accepted, f"?offset={offset}&limit={limit}").get_json()
    end = min(offset + limit, len(rows))
    assert part["predictions"] == whole[offset:end]
    assert (part["offset"], part["rows"]) == (offset, len(rows))
    assert part["next_offset"] == (end if end < len(rows) else None)


def test_behind_the_last_row_there_is_nothing(jobs: Any) -> None:
    accepted = submit(jobs, [SETOSA])
    turn(jobs)
    part = result(jobs, accepted, "?offset=1").get_json()
    assert (part["predictions"], part["next_offset"]) == ([], None)


def test_a_part_of_a_large_result_is_small(jobs: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr("model_service.jobs.service.PAGE_BYTES", 150_000)
    accepted = submit(jobs, [SETOSA] * (9 * CHUNK_ROWS))
    turn(jobs)
    part = result(jobs, accepted)
    assert len(part.data) < 151_000
    assert 0 < part.get_json()["next_offset"] < 9 * CHUNK_ROWS
    assert len(predictions_of(jobs, accepted)) == 9 * CHUNK_ROWS
    monkeypatch.setattr("model_service.jobs.service.PAGE_BYTES", 1)
    assert len(result(jobs, accepted).get_json()["predictions"]) == CHUNK_ROWS, "never less than a chunk"


def test_a_result_that_is_deleted_between_two_parts_does_not_look_complete(jobs: Any, harness: Any) -> None:
    accepted = submit(jobs, [SETOSA] * 2)
    turn(jobs)
    with harness.engine.begin() as connection:
        connection.execute(text("DELETE FROM sluice_jobs.job_chunk"))
    assert result(jobs, accepted, "?offset=1").status_code == 404


# -- workers ---------------------------------------------------------------------------------------


def worker_of(service: Any, lease: float = 30, answer: Callable[..., Any] | None = None) -> JobWorker:
    load = answer or (lambda job: service.registry[job.model].require_loaded())
    return JobWorker(service.harness.engine, load, lambda: JobFilter(service.registry.names), lease_seconds=lease)


class Killed(BaseException):
    """Stands for the end of a process: nothing catches it."""


def test_a_job_whose_worker_died_is_taken_again_and_goes_on_where_it_was(jobs: Any, monkeypatch: Any) -> None:
    from model_service.jobs import worker as job_worker

    accepted = submit(jobs, [SETOSA] * (3 * CHUNK_ROWS))
    worked: list[int] = []

    def dies_at_the_second_part(loaded: Any, part: Any) -> bytes:
        worked.append(part.first_row)
        if len(worked) == 2:
            raise Killed
        return original(loaded, part)

    original = job_worker.predict_chunk
    monkeypatch.setattr(job_worker, "predict_chunk", dies_at_the_second_part)
    with pytest.raises(Killed):
        worker_of(jobs, lease=0.5).run_once()
    assert not worker_of(jobs).run_once(), "while the lease lasts it is the dead one's"
    assert (job_of(jobs, accepted)["state"], job_of(jobs, accepted)["rows_done"]) == ("running", CHUNK_ROWS)
    time.sleep(0.6)
    assert worker_of(jobs).run_once()
    assert worked == [0, CHUNK_ROWS, CHUNK_ROWS, 2 * CHUNK_ROWS], "the part that was done is not done again"
    done = job_of(jobs, accepted)
    assert (done["state"], done["rows_done"]) == ("done", 3 * CHUNK_ROWS)
    assert len(predictions_of(jobs, accepted)) == 3 * CHUNK_ROWS


def test_a_worker_that_was_only_slow_writes_nothing_once_another_has_the_job(jobs: Any, monkeypatch: Any) -> None:
    from model_service.jobs import worker as job_worker

    accepted = submit(jobs, [SETOSA] * 2)

    def overtaken(loaded: Any, part: Any) -> bytes:
        monkeypatch.setattr(job_worker, "predict_chunk", original)
        time.sleep(0.2)
        assert worker_of(jobs).run_once(), "the other one takes it and does it"
        return b'["what the slow one says"]'

    original = job_worker.predict_chunk
    monkeypatch.setattr(job_worker, "predict_chunk", overtaken)
    worker_of(jobs, lease=0.1).run_once()
    done = job_of(jobs, accepted)
    assert (done["state"], done["rows_done"]) == ("done", 2)
    assert predictions_of(jobs, accepted) == jobs.predict("iris", [SETOSA] * 2).get_json()["predictions"]


def test_a_job_that_kills_its_workers_is_given_up(jobs: Any) -> None:
    def deadly(job: Any) -> Any:
        raise Killed

    accepted = submit(jobs, SETOSA)
    for _ in range(5):
        with pytest.raises(Killed):
            worker_of(jobs, lease=0.01, answer=deadly).run_once()
        time.sleep(0.05)
    assert worker_of(jobs, answer=deadly).run_once()
    failed = job_of(jobs, accepted)
    assert failed["state"] == "failed"
    assert "given up after 5 attempts" in failed["error"]["detail"]


def test_a_worker_that_is_told_to_stop_gives_its_job_back(jobs: Any, monkeypatch: Any) -> None:
    from model_service.jobs import worker as job_worker

    accepted = submit(jobs, [SETOSA] * (2 * CHUNK_ROWS))
    stopped = worker_of(jobs)

    def told_to_stop(loaded: Any, part: Any) -> bytes:
        stopped.stop()
        return original(loaded, part)

    original = job_worker.predict_chunk
    monkeypatch.setattr(job_worker, "predict_chunk", told_to_stop)
    stopped.run_once()
    assert (job_of(jobs, accepted)["state"], job_of(jobs, accepted)["rows_done"]) == ("queued", CHUNK_ROWS)


def test_two_workers_never_take_the_same_job(jobs: Any) -> None:
    accepted = [submit(jobs, SETOSA) for _ in range(20)]
    workers = [worker_of(jobs) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        turns = list(pool.map(lambda number: workers[number % 4].run_once(), range(20)))
    assert turns == [True] * 20
    assert {job_of(jobs, each)["state"] for each in accepted} == {"done"}
    with jobs.harness.engine.connect() as connection:
        assert set(connection.execute(text("SELECT attempt FROM sluice_jobs.job")).scalars()) == {1}


def test_an_artifact_that_was_altered_fails_the_job(jobs: Any, harness: Any) -> None:
    accepted = submit(jobs, SETOSA)
    harness.champion("iris", seed=1)
    jobs.watcher.poll_once()
    graph = Path(harness.store.locate("iris", 1)) / "model.onnx"
    graph.write_bytes(graph.read_bytes()[:-1])
    turn(jobs)
    failed = job_of(jobs, accepted)
    assert failed["state"] == "failed"
    assert "cannot be loaded" in failed["error"]["detail"]


# -- whose jobs a worker takes ---------------------------------------------------------------------


def over(service: Any, registry: ModelRegistry, **settings: Any) -> Any:
    """Return a service on another host, over the same database, which serves what is in `registry`."""
    own = service.harness.settings.model_copy(update=settings)
    return replace(service, registry=registry, client=create_app(own, registry, service.harness.engine).test_client())


def with_the_folder_of(name: str, service: Any, tmp_path: Path) -> Any:
    """Return a service on a host that has the declaration of one model alone."""
    settings, registry = service.harness.settings, ModelRegistry()
    shutil.copytree(settings.models_dir / name, tmp_path / "elsewhere" / name)
    ChampionWatcher(
        registry, service.harness.engine, artifacts=open_artifact_store(settings), models_dir=tmp_path / "elsewhere"
    ).poll_once()
    return over(service, registry)


def pinned_to(registered: ModelVersion, service: Any, number: int | None = None) -> Any:
    """Return a service that is pinned to an artifact of iris, under its own number or another."""
    pin = Pin(version=number or registered.version, artifact_digest=registered.artifact_digest)
    registry = ModelRegistry(["iris"])
    scorer = load_artifact(service.harness.store, "iris", registered.version, registered.artifact_digest)
    registry["iris"].pin, registry["iris"].current = pin, LoadedModel(scorer, pin)
    return over(service, registry, service_pinned_versions={"iris": pin})


def test_a_worker_takes_jobs_of_the_models_that_it_serves_and_leaves_others_to_others(
    jobs: Any, tmp_path: Path
) -> None:
    elsewhere = with_the_folder_of("trip", jobs, tmp_path)
    of_iris = submit(jobs, SETOSA)
    of_trip = submit(jobs, [10.5, "BB", True], "trip")
    assert turn(elsewhere)
    assert not turn(elsewhere), "the other is not its to take, although it came first"
    assert (job_of(jobs, of_iris)["state"], job_of(jobs, of_trip)["state"]) == ("queued", "done")
    assert turn(jobs)
    assert job_of(jobs, of_iris)["state"] == "done"


def test_a_worker_with_nothing_in_memory_takes_no_job(jobs: Any) -> None:
    just_started = over(jobs, ModelRegistry(["iris", "trip"]))
    accepted = submit(jobs, SETOSA)
    assert not turn(just_started)
    assert job_of(jobs, accepted)["state"] == "queued"


def test_a_model_that_is_given_up_while_its_job_is_taken_leaves_the_job_to_others(jobs: Any) -> None:
    accepted = submit(jobs, SETOSA)
    alone = over(jobs, ModelRegistry(["iris"]))
    alone.registry["iris"].current = jobs.registry["iris"].current
    worker = alone.client.application.extensions[JOB_WORKER]
    load = worker._load

    def given_up(job: Any) -> Any:
        alone.registry.sync({}, {})
        return load(job)

    worker._load = given_up
    worker.run_once()
    assert job_of(jobs, accepted)["state"] == "queued"
    assert turn(jobs)
    assert job_of(jobs, accepted)["state"] == "done"


def test_a_pinned_service_takes_only_jobs_of_the_artifact_that_it_is_pinned_to(jobs: Any, harness: Any) -> None:
    pinned = pinned_to(harness.register("iris", seed=1), jobs)
    of_the_champion, of_the_pin = submit(jobs, [BORDER]), submit(pinned, [BORDER])
    assert turn(pinned)
    assert not turn(pinned)
    assert job_of(jobs, of_the_champion)["state"] == "queued"
    done = job_of(jobs, of_the_pin)
    assert done["version"] == 2
    assert predictions_of(jobs, of_the_pin) == pinned.predict("iris", [BORDER]).get_json()["predictions"]
    assert turn(jobs)
    assert predictions_of(jobs, of_the_champion) == jobs.predict("iris", [BORDER]).get_json()["predictions"]


def test_a_pin_of_the_same_number_and_another_artifact_answers_no_job(jobs: Any, harness: Any) -> None:
    pinned = pinned_to(harness.register("iris", seed=1), jobs, number=1)
    accepted = submit(jobs, [BORDER])
    assert not turn(pinned)
    assert job_of(jobs, accepted)["state"] == "queued"


def test_another_artifact_than_the_jobs_own_fails_it_and_never_answers(jobs: Any, harness: Any) -> None:
    accepted = submit(jobs, SETOSA)
    with harness.engine.begin() as connection:
        connection.execute(text("UPDATE sluice_jobs.job SET artifact_digest = repeat('f', 64)"))
    assert turn(jobs)
    failed = job_of(jobs, accepted)
    assert (failed["state"], failed["rows_done"]) == ("failed", 0)
    assert f"expected the artifact {'f' * 64}" in failed["error"]["detail"]
    assert f"found {jobs.registry['iris'].require_loaded().artifact_digest}" in failed["error"]["detail"]
    refused = jobs.client.get(f"{accepted.headers['Location']}/predictions")
    assert (refused.status_code, refused.get_json()["type"]) == (409, "urn:sluice:problem:job-not-done")
    assert failed["stored_bytes"] == 0


def test_a_pin_that_no_ledger_knows_takes_no_jobs_and_says_why(jobs: Any, harness: Any) -> None:
    refused = submit(pinned_to(harness.register("iris", seed=1), jobs, number=9), SETOSA)
    assert refused.status_code == 503
    assert refused.get_json()["type"] == "urn:sluice:problem:jobs-unavailable"
    assert "registered" in refused.get_json()["detail"]


# -- the database ----------------------------------------------------------------------------------


def test_with_the_database_down_jobs_are_503_and_predictions_go_on(settled: Any) -> None:
    gone = settled.harness.settings.model_copy(update={"database_url": "postgresql://nobody:x@127.0.0.1:1/gone"})
    client = create_app(gone, settled.registry).test_client()
    for response in (
        client.post("/v1/models/iris/predict_async", json={"features": SETOSA}),
        client.get(f"/v1/jobs/{uuid.uuid4()}"),
        client.delete(f"/v1/jobs/{uuid.uuid4()}"),
    ):
        assert response.status_code == 503
        assert response.headers["Retry-After"]
        assert response.get_json()["type"] == "urn:sluice:problem:jobs-unavailable"
    assert client.post("/predict", json={"features": SETOSA}).status_code == 200


def test_a_body_is_cut_without_changing_a_row() -> None:
    rows = [{"name": f'a "{number}", [x]: {{é}}', "values": [number, 1e300, None, True]} for number in range(1203)]
    body = json.dumps({"features": rows}, indent=1).encode()
    parts = split_chunks(body, 10_000)
    assert [part.first_row for part in parts] == [0, 500, 1000]
    assert [row for part in parts for row in json.loads(part.body)["features"]] == rows
    assert [part.row_count for part in parts] == [500, 500, 203]


def test_chunks_are_small_in_bytes_too_unless_a_row_is_long() -> None:
    lengths = [10] * 3_000 + [CHUNK_BYTES * 3 // 2] * 3 + [10] * 3_000 + [5 * CHUNK_BYTES]
    rows = [["x" * length] for length in lengths]
    parts = split_chunks(json.dumps({"features": rows}).encode(), 10_000)
    assert [row for part in parts for row in json.loads(part.body)["features"]] == rows
    assert [part.first_row for part in parts] == list(accumulate((part.row_count for part in parts), initial=0))[:-1]
    assert all(len(part.body) <= 2 * CHUNK_BYTES for part in parts if part.row_count > 1)


@pytest.mark.parametrize(
    ("body", "what"),
    [
        (b'{"features":[' + b"1," * 3000 + b"1]}", "a list of rows alone"),
        (b'{"x":1,"features":[[1,2,3,4],' + b"[1,2,3,4]," * 600 + b"[1,2,3,4]]}", "a list of rows alone"),
        (b"x" * 5000, "a list of rows alone"),
        (b'{"features":[[1,2,3,4],[' + b"1," * 3000 + b"1]]}", "bytes in one row"),
    ],
)
def test_what_has_to_be_parsed_as_a_whole_may_be_no_larger_than_a_prediction_request(
    jobs: Any, monkeypatch: Any, body: bytes, what: str
) -> None:
    monkeypatch.setattr("model_service.jobs.chunks.CHUNK_BYTES", 1000)
    few = jobs.harness.settings.model_copy(update={"service_max_bytes": 4096})
    client = create_app(few, jobs.registry, jobs.harness.engine).test_client()
    refused = client.post("/v1/models/iris/predict_async", data=body)
    assert refused.status_code == 413
    assert what in refused.get_json()["detail"]
    assert "SLUICE_SERVICE_MAX_BYTES" in refused.get_json()["detail"]
    assert client.post("/v1/models/iris/predict_async", json={"features": [SETOSA] * 500}).status_code == 202


def test_nesting_beyond_the_limit_is_refused_in_whatever_row(jobs: Any) -> None:
    deep = json.loads("[" * 70 + "]" * 70)
    for rows in ([deep], [SETOSA] * CHUNK_ROWS + [[*SETOSA[:3], deep]]):
        refused = submit(jobs, rows)
        assert refused.status_code == 400
        assert "SLUICE_SERVICE_MAX_DEPTH" in refused.get_json()["detail"]


# -- the service as it really runs -----------------------------------------------------------------


def test_jobs_survive_the_death_of_their_worker_and_of_the_service(
    harness: Any, run_service: Callable[..., Any], monkeypatch: Any
) -> None:
    monkeypatch.setenv("SLUICE_SERVICE_JOB_LEASE_SECONDS", "1")
    monkeypatch.setenv("SLUICE_SERVICE_MAX_ROWS", "60000")
    harness.declare("iris")
    harness.champion("iris")
    service = run_service()
    service.wait_until(lambda: service.ask("GET", "/ready")[0] == 200)
    rows = [SETOSA, VIRGINICA] * 30_000
    status, job = service.ask("POST", "/v1/models/iris/predict_async", {"features": rows})
    assert (status, job["state"]) == (202, "queued")
    where = f"/v1/jobs/{job['id']}"

    def rows_done() -> int:
        return int(service.ask("GET", where)[1]["rows_done"])

    service.wait_until(lambda: rows_done() > 0)
    (worker,) = psutil.Process(service.process.pid).children()
    os.kill(worker.pid, signal.SIGKILL)
    with harness.engine.connect() as connection:
        done_at_death = connection.execute(text("SELECT rows_done FROM sluice_jobs.job")).scalar_one()
    assert 0 < done_at_death < len(rows), "it died in the middle"
    service.wait_until(lambda: service.ask("GET", "/ready")[0] == 200, seconds=30)
    service.wait_until(lambda: rows_done() > done_at_death)
    psutil.Process(service.process.pid).children()[0].kill()
    service.process.kill()
    service.process.wait()
    again = run_service()
    again.wait_until(lambda: again.ask("GET", where)[1]["state"] == "done", seconds=60)
    done = again.ask("GET", where)[1]
    assert done["rows_done"] == len(rows)
    predicted = all_parts(lambda path: again.ask("GET", path)[1], where)
    assert [each["label"] for each in predicted] == ["setosa", "virginica"] * 30_000
    with harness.engine.connect() as connection:
        assert connection.execute(text("SELECT attempt FROM sluice_jobs.job")).scalar_one() >= 3


def test_many_clients_that_read_one_large_result_at_once_leave_the_circuit_closed(
    harness: Any, run_service: Callable[..., Any]
) -> None:
    harness.declare("iris")
    harness.champion("iris")
    service = run_service()
    service.wait_until(lambda: service.ask("GET", "/ready")[0] == 200)
    _, job = service.ask("POST", "/v1/models/iris/predict_async", {"features": [SETOSA] * 90_000})
    where = f"/v1/jobs/{job['id']}"
    service.wait_until(lambda: service.ask("GET", where)[1]["state"] == "done", seconds=120)

    def read(_: int) -> tuple[int, Any]:
        return cast(tuple[int, Any], service.ask("GET", f"{where}/predictions"))

    with ThreadPoolExecutor(120) as pool:
        answers = list(pool.map(read, range(120)))
    kinds = {answer["type"].rpartition(":")[2] for status, answer in answers if status != 200}
    assert {status for status, _ in answers} <= {200, 503}
    assert kinds <= {"overloaded", "jobs-unavailable"}, "the worker's own limits"
    assert "circuit" not in service.log.read_text(), "no failure was counted"
    assert service.ask("GET", where)[0] == 200
    assert len(all_parts(lambda path: service.ask("GET", path)[1], where)) == 90_000


def test_a_service_that_is_told_to_stop_gives_its_job_back(harness: Any, run_service: Callable[..., Any]) -> None:
    harness.declare("iris")
    harness.champion("iris")
    service = run_service()
    service.wait_until(lambda: service.ask("GET", "/ready")[0] == 200)
    _, job = service.ask("POST", "/v1/models/iris/predict_async", {"features": [SETOSA] * 90_000})
    service.wait_until(lambda: service.ask("GET", f"/v1/jobs/{job['id']}")[1]["rows_done"] > 0)
    assert service.stop() == 0
    with harness.engine.connect() as connection:
        assert connection.execute(text("SELECT state FROM sluice_jobs.job")).scalar_one() == "queued"
