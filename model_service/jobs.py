"""The routes of asynchronous prediction: submit many rows, come back for the answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

import msgspec
from flask import Blueprint, Response, request

from include.errors import NoChampionError, RowsRejectedError, UnknownModelError
from include.inference import ModelSignature
from include.settings import Settings
from model_service.answers import Prediction, encode
from model_service.body import read_body
from model_service.compression import unpacked
from model_service.errors import (
    JobOverError,
    JobsUnavailableError,
    MalformedBodyError,
    NotLoadedError,
    TooLargeError,
    TooManyJobsError,
    UnknownJobError,
    UnpackError,
)
from model_service.guard import asks, check_may_ask, current_visit
from model_service.job_desk import JobDesk
from model_service.job_rows import check_part, parts_of
from model_service.job_store import Job
from model_service.limits import check_depth
from model_service.openapi import Answer, Body, Operation, Parameter, documented
from model_service.openapi.signatures import example_row, request_schema
from model_service.slots import ModelSlots


class JobAnswer(Job, kw_only=True):
    """A job; once it is done with a prediction for each row, in their order."""

    request_id: str
    predictions: list[Prediction] | msgspec.UnsetType = msgspec.UNSET


_MOST_BYTES: Final = "SLUICE_SERVICE_JOB_MAX_BYTES"
_ID = Parameter("job", {"type": "string", "format": "uuid"}, "The job's id.")
_ROWS = {
    "type": "object",
    "properties": {"features": {"description": "One row or many, as for a prediction.", "type": ["array", "object"]}},
    "required": ["features"],
    "additionalProperties": False,
}


def job_routes(
    settings: Settings, slots: ModelSlots, desk: JobDesk, ring: Callable[[], None] = lambda: None
) -> Blueprint:
    """Return the blueprint of ``POST /v1/models/<name>/predict_async`` and ``GET`` and ``DELETE /v1/jobs/<job>``.

    Parameters
    ----------
    settings : Settings
    slots : ModelSlots
    desk : JobDesk
    ring : callable
        Called when there is a job to be worked off.
    """
    routes = Blueprint("jobs", __name__)
    most_bytes = settings.service_job_max_bytes

    @routes.post("/v1/models/<name>/predict_async")
    @asks("predict")
    @documented(_submission(settings))
    def submit(name: str) -> Response:
        visit, environ = current_visit(), request.environ
        # Bound now: whatever is promoted meanwhile, one version answers all rows.
        loaded = slots[name].loaded()
        visit.version = loaded.version
        body = read_body(environ, most_bytes, _MOST_BYTES)
        body = unpacked(body, environ.get("HTTP_CONTENT_ENCODING"), most_bytes, _MOST_BYTES)
        check_depth(body, settings.service_max_depth)
        parts = parts_of(body, settings.service_job_max_rows)
        check_part(loaded, parts[0])  # what is wrong with every row is told at once
        job = desk.submit(loaded, parts, visit.subject)
        ring()
        answer = _json(job, 202)
        answer.headers["Location"] = f"/v1/jobs/{job.id}"
        return answer

    @routes.get("/v1/jobs/<job>")
    @asks("predict")
    @documented(
        Operation(
            summary="How far a job is, and its predictions once it is done",
            tag="jobs",
            answers={200: JobAnswer},
            problems=(UnknownJobError, JobsUnavailableError),
            path={"job": _ID},
        )
    )
    def state(job: str) -> Response:
        found = _owned(desk, job)
        answers = desk.answers(found)
        # Each part's answers are a JSON list: put together as they are, nothing is decoded.
        whole = b"[" + b",".join(each[1:-1] for each in answers) + b"]"
        return _json(found, predictions=msgspec.Raw(whole) if answers else msgspec.UNSET)

    @routes.delete("/v1/jobs/<job>")
    @asks("predict")
    @documented(
        Operation(
            summary="Cancel a job that is not over",
            tag="jobs",
            answers={200: Answer("The job, cancelled; its rows are forgotten.", JobAnswer)},
            problems=(UnknownJobError, JobOverError, JobsUnavailableError),
            path={"job": _ID},
        )
    )
    def cancel(job: str) -> Response:
        return _json(desk.cancel(_owned(desk, job), current_visit().subject))

    return routes


def _submission(settings: Settings) -> Operation:
    """Return what submitting a job takes and answers: of any model, and of one by its signature."""
    summary = "Have many rows predicted by and by"
    accepted = Answer(
        "The job.",
        JobAnswer,
        headers={"Location": "The job's path."},
        links={name: (f"jobs_{name}", {"job": "$response.body#/id"}) for name in ("state_get", "cancel_delete")},
    )
    general = Operation(
        summary,
        "jobs",
        {202: accepted},
        problems=(
            MalformedBodyError, RowsRejectedError, TooLargeError, UnknownModelError, NoChampionError,
            NotLoadedError, UnpackError, 415, TooManyJobsError, JobsUnavailableError,
        ),
        body=Body(_ROWS),
    )  # fmt: skip

    def of_model(signature: ModelSignature) -> Operation:
        schema = request_schema(signature, settings.service_job_max_rows)
        body = Body(schema, example={"features": [example_row(signature)] * 2})
        return replace(general, summary=f"{summary}: '{signature.model}'", body=body)

    return replace(general, per_model=of_model)


def _owned(desk: JobDesk, job: str) -> Job:
    found = desk.find(job, current_visit().subject)
    check_may_ask(found.model)
    return found


def _json(job: Job, status: int = 200, **more: Any) -> Response:
    answer = JobAnswer(**msgspec.structs.asdict(job), request_id=current_visit().request_id, **more)
    return Response(encode(answer), status=status, mimetype="application/json")
