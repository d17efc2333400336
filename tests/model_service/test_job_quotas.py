"""What jobs may take: quotas that hold exactly, turns between callers, and what a refused caller is told."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr
from sqlalchemy import text

from model_service import create_app
from model_service.app import JOB_WORKER
from model_service.db.connections import open_jobs
from model_service.http.json import encode
from model_service.http.responses import ClassPrediction, ValuePrediction
from model_service.jobs import repository
from model_service.jobs.chunks import CHUNK_ROWS, PAGE_BYTES, chunk_rows, max_prediction_bytes
from model_service.jobs.service import JobService
from model_service.routes import jobs as job_routes

SETOSA = [5.1, 3.5, 1.4, 0.2]
SECRET = "0123456789abcdef0123456789abcdef"  # noqa: S105  # of these tests
JOBS = "/v1/models/iris/predict_async"


def bearer(subject: str, **more: Any) -> dict[str, str]:
    claims = {"iss": "sluice", "aud": "sluice", "sub": subject, "exp": int(time.time()) + 600, "scope": "predict"}
    return {"Authorization": f"Bearer {jwt.encode(claims | more, SECRET, 'HS256')}"}


@pytest.fixture
def jobs(service: Any, harness: Any) -> Callable[..., Any]:
    """Returns a client of a service with these settings, with tokens, whose job worker is turned by hand."""
    harness.declare("iris", "trip")
    harness.champion("iris")
    harness.champion("trip")
    service.watcher.poll_once()

    def client(**settings: Any) -> Any:
        changed = harness.settings.model_copy(update={"auth_secret": SecretStr(SECRET), **settings})
        return create_app(changed, service.registry, harness.engine).test_client()

    return client


def submit(client: Any, subject: str, rows: int = 1, name: str = "iris") -> Any:
    features = [SETOSA if name == "iris" else [10.5, "BB", True]] * rows
    return client.post(f"/v1/models/{name}/predict_async", json={"features": features}, headers=bearer(subject))


def turn(client: Any) -> bool:
    return bool(client.application.extensions[JOB_WORKER].run_once())


def stored(harness: Any) -> tuple[int, int]:
    """Return the bytes that jobs count with, and the bytes that are stored."""
    with harness.engine.connect() as connection:
        counted = connection.execute(text("SELECT coalesce(sum(reserved_bytes), 0) FROM sluice_jobs.job")).scalar_one()
        lengths = "coalesce(sum(length(body)), 0) + coalesce(sum(length(predictions)), 0)"
        return int(counted), int(connection.execute(text(f"SELECT {lengths} FROM sluice_jobs.job_chunk")).scalar_one())


# -- what a refusal says ---------------------------------------------------------------------------


def test_a_caller_whose_bytes_are_used_up_is_told_what_is_used_and_when_and_how_there_is_room(
    jobs: Any, harness: Any
) -> None:
    client = jobs(service_job_storage_bytes_per_caller=200_000)
    accepted = submit(client, "shop", 700)
    assert accepted.status_code == 202
    refused = submit(client, "shop", 700)
    assert refused.status_code == 429, refused.get_json()
    problem = refused.get_json()
    used = accepted.get_json()["stored_bytes"]
    assert problem["type"] == "urn:sluice:problem:job-quota-exceeded"
    assert problem["quota"] == {
        "kind": "stored_bytes",
        "limit": 200_000,
        "used": used,
        "requested": used,
        "available_at": accepted.get_json()["expires_at"],
        "setting": "SLUICE_SERVICE_JOB_STORAGE_BYTES_PER_CALLER",
    }
    for said in (f"use {used} of 200000 bytes", "DELETE /v1/jobs/<job>", "GET /v1/jobs", problem["quota"]["setting"]):
        assert said in problem["detail"]
    back = datetime.fromisoformat(problem["quota"]["available_at"]) - datetime.now(UTC)
    assert timedelta(0) < back <= timedelta(seconds=int(refused.headers["Retry-After"]))
    assert submit(client, "another shop", 700).status_code == 202, "others have quotas of their own"
    assert client.delete(accepted.headers["Location"], headers=bearer("shop")).status_code == 200
    assert submit(client, "shop", 700).status_code == 202, "what was deleted is free at once"


def test_the_time_at_which_there_is_room_is_when_enough_has_expired_and_then_there_is(jobs: Any, harness: Any) -> None:
    client = jobs(service_job_storage_limit_per_caller=3)
    accepted = [submit(client, "shop").get_json() for _ in range(3)]
    with harness.engine.begin() as connection:
        for hours, job in enumerate(accepted, start=1):
            connection.execute(
                text("UPDATE sluice_jobs.job SET expires_at = now() + make_interval(hours => :hours) WHERE id = :id"),
                {"hours": hours, "id": job["id"]},
            )
        first = connection.execute(text("SELECT min(expires_at) FROM sluice_jobs.job")).scalar_one()
    refused = submit(client, "shop").get_json()
    assert (refused["quota"]["kind"], refused["quota"]["used"]) == ("stored_jobs", 3)
    assert datetime.fromisoformat(refused["quota"]["available_at"]) == first
    with harness.engine.begin() as connection:
        connection.execute(text("UPDATE sluice_jobs.job SET expires_at = now() WHERE expires_at = :at"), {"at": first})
    turn(client)
    assert submit(client, "shop").status_code == 202


@pytest.mark.parametrize(
    ("setting", "status", "kind"),
    [
        ("service_job_queue_limit_per_caller", 429, "queued_jobs"),
        ("service_job_queue_limit", 503, "queued_jobs"),
        ("service_job_storage_limit_per_caller", 429, "stored_jobs"),
        ("service_job_storage_limit", 503, "stored_jobs"),
    ],
)
def test_each_quota_of_jobs_is_refused_in_its_own_words(jobs: Any, setting: str, status: int, kind: str) -> None:
    client = jobs(**{setting: 2})
    assert [submit(client, "shop").status_code for _ in range(3)] == [202, 202, status]
    refused = submit(client, "shop" if status == 429 else "another shop")
    problem = refused.get_json()
    assert (problem["quota"]["kind"], problem["quota"]["limit"], problem["quota"]["used"]) == (kind, 2, 2)
    assert f"SLUICE_{setting.upper()}" in problem["detail"]
    assert ("your jobs" if status == 429 else "the jobs of all callers") in problem["detail"]
    assert int(refused.headers["Retry-After"]) >= 1
    assert turn(client)
    after = submit(client, "shop").status_code
    assert after == (202 if kind == "queued_jobs" else status), "a finished job leaves the queue, and stays stored"


def test_the_bytes_of_all_callers_have_a_quota_too(jobs: Any) -> None:
    client = jobs(service_job_storage_bytes=200_000)
    assert submit(client, "shop", 700).status_code == 202
    refused = submit(client, "another shop", 700)
    assert (refused.status_code, refused.get_json()["type"]) == (503, "urn:sluice:problem:too-many-jobs")
    assert "SLUICE_SERVICE_JOB_STORAGE_BYTES." in refused.get_json()["detail"]


@pytest.mark.parametrize(("setting", "status"), [("hourly_bytes_per_caller", 429), ("hourly_bytes", 503)])
def test_submitting_and_deleting_again_and_again_ends_with_what_may_be_submitted_in_an_hour(
    jobs: Any, harness: Any, setting: str, status: int
) -> None:
    client = jobs(**{f"service_job_{setting}": 250_000})
    answers = []
    for _ in range(3):
        answers.append(submit(client, "shop", 500))
        if answers[-1].status_code == 202:
            assert client.delete(answers[-1].headers["Location"], headers=bearer("shop")).status_code == 200
    assert [each.status_code for each in answers] == [202, 202, status]
    quota = answers[-1].get_json()["quota"]
    assert (quota["kind"], quota["setting"]) == ("hourly_bytes", f"SLUICE_SERVICE_JOB_{setting.upper()}")
    room = datetime.fromisoformat(quota["available_at"])
    assert (room.minute, room.second, room.microsecond) == (0, 0, 0)
    assert timedelta(0) < room - datetime.now(UTC) <= timedelta(hours=1)
    assert "the next hour" in answers[-1].get_json()["detail"]
    assert submit(client, "another shop", 500).status_code == (202 if status == 429 else 503)
    with harness.engine.begin() as connection:
        connection.execute(text("UPDATE sluice_jobs.job_caller SET hour = hour - interval '1 hour'"))
    assert submit(client, "shop", 500).status_code == 202


def test_callers_without_jobs_are_forgotten_an_hour_later(jobs: Any, harness: Any) -> None:
    client = jobs()
    for subject in ("shop", "another shop"):
        accepted = submit(client, subject)
    client.delete(accepted.headers["Location"], headers=bearer("another shop"))
    worker = client.application.extensions[JOB_WORKER]

    def known() -> list[str]:
        worker._next_removal = 0
        worker.run_once()
        with harness.engine.connect() as connection:
            return sorted(connection.execute(text("SELECT subject FROM sluice_jobs.job_caller")).scalars())

    assert known() == ["another shop", "shop"]
    with harness.engine.begin() as connection:
        connection.execute(text("UPDATE sluice_jobs.job_caller SET hour = hour - interval '1 hour'"))
    assert known() == ["shop"]


def test_a_process_that_is_stopped_while_it_holds_the_lock_of_submissions_loses_it(jobs: Any, harness: Any) -> None:
    client = jobs()
    frozen = open_jobs(harness.settings.database_url, 0.5)
    with frozen.connect() as holder:
        holder.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": repository.QUOTA_LOCK})
        # From here on it does nothing more, as a process that got SIGSTOP.
        deadline = time.monotonic() + 60
        while (answer := submit(client, "shop")).status_code != 202:
            assert answer.get_json()["type"] == "urn:sluice:problem:jobs-unavailable"
            assert time.monotonic() < deadline
        holder.invalidate()
    frozen.dispose()


def test_a_job_that_no_quota_could_hold_is_413_and_names_the_quota(jobs: Any) -> None:
    refused = submit(jobs(service_job_storage_bytes_per_caller=2000), "shop", 700)
    assert refused.status_code == 413
    assert "SLUICE_SERVICE_JOB_STORAGE_BYTES_PER_CALLER" in refused.get_json()["detail"]


def test_a_caller_without_room_is_refused_before_its_body_is_looked_at(jobs: Any) -> None:
    client = jobs(service_job_storage_limit_per_caller=1)
    assert submit(client, "shop").status_code == 202
    for body in (b"{", b'{"features":' + b"[" * 1000, b"\xff" * 1000):
        assert client.post(JOBS, data=body, headers=bearer("shop")).status_code == 429
    assert client.post(JOBS, data=b"{", headers=bearer("another shop")).status_code == 400


def test_the_list_of_jobs_has_the_caller_s_own_with_what_they_take(jobs: Any) -> None:
    client = jobs(service_job_storage_limit_per_caller=7)
    mine = [submit(client, "shop", name=name).get_json()["id"] for name in ("iris", "trip", "iris")]
    submit(client, "another shop")

    def listed(path: str = "/v1/jobs", **more: Any) -> Any:
        answer = client.get(path, headers=bearer("shop", **more))
        assert answer.status_code == 200, answer.get_json()
        return answer.get_json()

    whole = listed()
    size = sum(each["stored_bytes"] for each in whole["jobs"])
    assert [each["id"] for each in whole["jobs"]] == mine[::-1]
    assert whole["next_offset"] is None
    assert whole["used"] == {
        "queued_jobs": 3,
        "stored_jobs": 3,
        "stored_bytes": size,
        "hourly_bytes": size,
    }
    assert whole["limits"]["stored_jobs"] == 7
    first = listed("/v1/jobs?limit=2")
    rest = listed(f"/v1/jobs?limit=2&offset={first['next_offset']}")
    assert first["jobs"] + rest["jobs"] == whole["jobs"]
    assert rest["next_offset"] is None
    assert [each["model"] for each in listed(models=["trip"])["jobs"]] == ["trip"]


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "limit=x", "offset=-1", "offset=2147483648", "size=1"])
def test_a_parameter_that_is_not_understood_is_refused(jobs: Any, query: str) -> None:
    client = jobs()
    for path in ("/v1/jobs", f"{submit(client, 'shop').headers['Location']}/predictions"):
        if path != "/v1/jobs" and query == "limit=101":
            continue
        refused = client.get(f"{path}?{query}", headers=bearer("shop"))
        assert (refused.status_code, refused.get_json()["type"]) == (400, "urn:sluice:problem:invalid-parameter")


# -- what is counted -------------------------------------------------------------------------------


def test_what_is_counted_is_never_less_than_what_is_stored_and_in_the_end_the_same(jobs: Any, harness: Any) -> None:
    client = jobs()
    submit(client, "shop", 2 * CHUNK_ROWS + 5)
    seen = [stored(harness)]
    worker = client.application.extensions[JOB_WORKER]
    finish = worker._finish

    def finish_and_look(*given: Any) -> bool:
        done = finish(*given)
        seen.append(stored(harness))
        return bool(done)

    worker._finish = finish_and_look
    assert turn(client)
    assert len(seen) == 4
    assert all(counted >= held for counted, held in seen)
    assert [counted for counted, _ in seen] == sorted((counted for counted, _ in seen), reverse=True)
    assert seen[-1][0] == seen[-1][1], "the rows are gone, and the predictions are what they are"
    with harness.engine.connect() as connection:
        assert connection.execute(text("SELECT count(body) FROM sluice_jobs.job_chunk")).scalar_one() == 0


NAMES = st.lists(st.text(st.characters(codec="utf-8"), min_size=1, max_size=30), min_size=2, max_size=8, unique=True)


@given(NAMES, st.data())
def test_no_prediction_is_longer_than_what_is_reserved_for_it(classes: list[str], data: st.DataObject) -> None:
    numbers = data.draw(st.lists(st.floats(), min_size=len(classes), max_size=len(classes)))
    index = data.draw(st.integers(0, len(classes) - 1))
    prediction = ClassPrediction(classes[index], index, dict(zip(classes, numbers, strict=True)))
    assert len(encode(prediction)) < max_prediction_bytes(classes)
    assert len(encode(ValuePrediction(numbers[0]))) < max_prediction_bytes(())


def test_rows_with_long_predictions_are_in_smaller_chunks() -> None:
    assert chunk_rows(max_prediction_bytes(("a", "b"))) == CHUNK_ROWS
    many = max_prediction_bytes([f"class {number}" for number in range(5_000)])
    assert many * chunk_rows(many) <= PAGE_BYTES
    assert chunk_rows(10 * PAGE_BYTES) == 1


def test_few_submissions_are_in_memory_at_the_same_time(jobs: Any, monkeypatch: Any) -> None:
    client = jobs()
    split = job_routes.split_chunks

    def split_and_count(*given: Any, **more: Any) -> Any:
        held.append(1)
        most.append(len(held))
        return split(*given, **more)

    held: list[int] = []
    most: list[int] = []
    submit_ = JobService.submit

    def submitted(self: Any, *given: Any) -> Any:
        time.sleep(0.05)
        try:
            return submit_(self, *given)
        finally:
            held.pop()

    monkeypatch.setattr(job_routes, "split_chunks", split_and_count)
    monkeypatch.setattr(JobService, "submit", submitted)
    with ThreadPoolExecutor(16) as pool:
        statuses = set(pool.map(lambda _: submit(client.application.test_client(), "shop").status_code, range(16)))
    assert statuses == {202}
    assert len(most) == 16
    assert max(most) <= job_routes.MAX_IN_MEMORY


def test_rows_that_were_never_stored_are_removed_when_their_time_is_over(jobs: Any, harness: Any) -> None:
    client = jobs()
    submit(client, "shop")
    with harness.engine.begin() as connection:  # as after the death of a process between its two transactions
        connection.execute(text("UPDATE sluice_jobs.job SET state = 'submitting', lease_until = now() + '1 minute'"))
        connection.execute(text("DELETE FROM sluice_jobs.job_chunk"))
    assert not turn(client), "nobody works on it"
    assert client.get("/v1/jobs", headers=bearer("shop")).get_json()["jobs"] == []
    assert stored(harness)[0] > 0, "it counts"
    with harness.engine.begin() as connection:
        connection.execute(text("UPDATE sluice_jobs.job SET lease_until = now() - interval '1 second'"))
    client.application.extensions[JOB_WORKER]._next_removal = 0
    assert not turn(client)
    assert stored(harness) == (0, 0)


def test_rows_are_stored_in_batches_and_a_reservation_that_ends_meanwhile_ends_the_submission(
    jobs: Any, harness: Any, monkeypatch: Any
) -> None:
    monkeypatch.setattr(repository, "BATCH_BYTES", 1)
    client = jobs()
    batches: list[int] = []
    store = repository.store

    def note(connection: Any, job: Any, chunks: Any) -> bool:
        batches.append(len(chunks))
        if len(batches) == 5:
            with harness.engine.begin() as other:
                other.execute(text("DELETE FROM sluice_jobs.job WHERE state = 'submitting'"))
        return store(connection, job, chunks)

    monkeypatch.setattr(repository, "store", note)
    accepted = submit(client, "shop", 2 * CHUNK_ROWS + 1)
    assert (accepted.status_code, batches) == (202, [1, 1, 1])
    assert turn(client)
    assert client.get(accepted.headers["Location"], headers=bearer("shop")).get_json()["state"] == "done"
    refused = submit(client, "shop", 3 * CHUNK_ROWS)
    assert (refused.status_code, batches) == (503, [1] * 5)
    assert "Submit the job again" in refused.get_json()["detail"]
    assert len(client.get("/v1/jobs", headers=bearer("shop")).get_json()["jobs"]) == 1


def test_expired_jobs_are_removed_in_small_batches(jobs: Any, harness: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(repository, "REMOVE_CHUNKS", 2)
    client = jobs()
    for _ in range(2):
        submit(client, "shop", 5 * CHUNK_ROWS)
    with harness.engine.begin() as connection:
        connection.execute(text("UPDATE sluice_jobs.job SET expires_at = now()"))
    left = []
    while True:
        with harness.engine.begin() as connection:
            more = repository.remove_expired(connection)
            left.append(connection.execute(text("SELECT count(*) FROM sluice_jobs.job_chunk")).scalar_one())
        if not more:
            break
    assert left == [8, 6, 5, 3, 1, 0, 0]
    with harness.engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM sluice_jobs.job")).scalar_one() == 0


# -- turns -----------------------------------------------------------------------------------------


def served(harness: Any) -> list[str]:
    """Return the subjects in the order in which their jobs were taken."""
    with harness.engine.connect() as connection:
        statement = text("SELECT subject FROM sluice_jobs.job WHERE started_at IS NOT NULL ORDER BY started_at")
        return list(connection.execute(statement).scalars())


def test_a_caller_with_many_jobs_lets_others_go_after_one_of_its_own(jobs: Any, harness: Any) -> None:
    client = jobs()
    for _ in range(20):
        assert submit(client, "hog").status_code == 202
    assert turn(client)
    submit(client, "shop")
    submit(client, "another shop")
    for _ in range(5):
        assert turn(client)
    assert served(harness) == ["hog", "shop", "another shop", "hog", "hog", "hog"]


def test_a_caller_that_deletes_its_jobs_and_submits_again_is_not_always_the_next(jobs: Any, harness: Any) -> None:
    client = jobs()
    for _ in range(3):
        submit(client, "patient")
    for _ in range(6):
        accepted = submit(client, "pushing")
        assert turn(client)
        client.delete(accepted.headers["Location"], headers=bearer("pushing"))
    assert served(harness).count("patient") == 3


def test_workers_that_claim_at_the_same_time_take_one_job_of_each_caller(jobs: Any, harness: Any) -> None:
    client = jobs()
    for _ in range(10):
        submit(client, "hog")
    for subject in ("shop", "another shop"):
        submit(client, subject)
    job_filter = repository.JobFilter(["iris", "trip"])
    connections = [harness.engine.connect() for _ in range(3)]
    try:  # none of them is committed before all have claimed
        claimed = [repository.claim(each, job_filter, 30) for each in connections]
        for each in connections:
            each.commit()
    finally:
        for each in connections:
            each.close()
    assert len({each.id for each in claimed if each}) == 3
    assert sorted(served(harness)) == ["another shop", "hog", "shop"]


# -- the service as it really runs -----------------------------------------------------------------


def post(port: int, headers: dict[str, str], rows: int) -> tuple[int, Any]:
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        body = json.dumps({"features": [SETOSA] * rows})
        connection.request("POST", JOBS, body, headers | {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


@pytest.mark.parametrize("by", ["jobs of a caller", "bytes of all"])
def test_quotas_hold_exactly_however_many_submit_to_many_workers_at_once(
    harness: Any, run_service: Callable[..., Any], by: str
) -> None:
    harness.declare("iris")
    harness.champion("iris")
    one = 2_000 * max_prediction_bytes(("setosa", "versicolor", "virginica")) + len(json.dumps([SETOSA] * 2_000))
    limits: dict[str, str] = (
        {"SLUICE_SERVICE_JOB_STORAGE_LIMIT_PER_CALLER": "7"}
        if by == "jobs of a caller"
        else {"SLUICE_SERVICE_JOB_STORAGE_BYTES": str(7 * one + one // 2)}
    )
    service = run_service(workers=3, SLUICE_AUTH_SECRET=SECRET, **limits)
    # A request before all are ready may meet a worker without a model.
    service.wait_until(lambda: service.log.read_text().count("serving version 1") == 3)
    service.wait_until(lambda: service.ask("GET", "/health")[0] == 200)
    with harness.engine.begin() as connection:  # nothing is worked off: what is counted stays what was reserved
        connection.execute(
            text(
                "CREATE FUNCTION pg_temp_refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
                "IF NEW.state = 'running' THEN RETURN NULL; END IF; RETURN NEW; END $$;"
                "CREATE TRIGGER paused BEFORE UPDATE ON sluice_jobs.job FOR EACH ROW EXECUTE FUNCTION pg_temp_refuse()"
            )
        )
    subjects = ["shop"] if by == "jobs of a caller" else [f"shop {number}" for number in range(30)]
    tokens = [bearer(subjects[number % len(subjects)]) for number in range(30)]
    with ThreadPoolExecutor(30) as pool:
        answers = list(pool.map(lambda headers: post(service.port, headers, 2_000), tokens))
    refused = 429 if by == "jobs of a caller" else 503
    statuses = Counter(status for status, _ in answers)
    kinds = {answer["quota"]["kind"] for status, answer in answers if status == refused}
    assert statuses == {202: 7, refused: 23}, [answer for status, answer in answers if status != 202][:3]
    assert kinds == {"stored_jobs" if refused == 429 else "stored_bytes"}
    with harness.engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM sluice_jobs.job")).scalar_one() == 7


def test_one_caller_s_long_queue_keeps_another_waiting_for_one_of_its_jobs_only(
    harness: Any, run_service: Callable[..., Any]
) -> None:
    harness.declare("iris")
    harness.champion("iris")
    service = run_service(SLUICE_AUTH_SECRET=SECRET)
    service.wait_until(lambda: service.ask("GET", "/ready")[0] == 200)
    for _ in range(50):
        assert post(service.port, bearer("hog"), 3_000)[0] == 202
    status, job = post(service.port, bearer("shop"), 1)
    assert status == 202

    def row(statement: str) -> Any:
        with harness.engine.connect() as connection:
            return connection.execute(text(statement), {"id": job["id"]}).one()

    service.wait_until(lambda: row("SELECT state FROM sluice_jobs.job WHERE id = :id")[0] == "done")
    (between,) = row(
        "SELECT count(*) FROM sluice_jobs.job, (SELECT * FROM sluice_jobs.job WHERE id = :id) AS mine "
        "WHERE job.subject = 'hog' AND job.started_at > mine.submitted_at AND job.started_at < mine.started_at"
    )
    assert between <= 1
    assert row("SELECT count(*) FROM sluice_jobs.job WHERE state = 'queued' AND subject = 'hog' AND :id <> ''")[0] > 0
