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
from model_service.http.body import read_body
from model_service.http.compression import decompress
from model_service.http.errors import (
    ContentEncodingError,
    JobFinishedError,
    JobNotFoundError,
    JobsUnavailableError,
    MalformedBodyError,
    NotLoadedError,
    PayloadTooLargeError,
    TooManyJobsError,
)
from model_service.http.limits import check_depth
from model_service.http.middleware import authorize_model, current_request_context, requires_scope
from model_service.http.responses import Prediction, encode
from model_service.jobs.chunks import split_chunks, validate_chunk
from model_service.jobs.repository import Job
from model_service.jobs.service import JobService
from model_service.models.registry import ModelRegistry
from model_service.openapi import Operation, Parameter, RequestBody, ResponseSpec, documented
from model_service.openapi.signatures import example_row, request_schema


class JobResponse(Job, kw_only=True):
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
    settings: Settings, registry: ModelRegistry, job_service: JobService, notify: Callable[[], None] = lambda: None
) -> Blueprint:
    """Return the blueprint of ``POST /v1/models/<name>/predict_async`` and ``GET`` and ``DELETE /v1/jobs/<job>``.

    Parameters
    ----------
    settings : Settings
    registry : ModelRegistry
    job_service : JobService
    notify : callable
        Called when there is a job to be worked off.
    """
    routes = Blueprint("jobs", __name__)
    most_bytes = settings.service_job_max_bytes

    @routes.post("/v1/models/<name>/predict_async")
    @requires_scope("predict")
    @documented(_submission(settings))
    def submit(name: str) -> Response:
        context, environ = current_request_context(), request.environ
        # Bound now: whatever is promoted meanwhile, one version answers all rows.
        loaded = registry[name].require_loaded()
        context.version = loaded.version
        body = read_body(environ, most_bytes, _MOST_BYTES)
        body = decompress(body, environ.get("HTTP_CONTENT_ENCODING"), most_bytes, _MOST_BYTES)
        check_depth(body, settings.service_max_depth)
        chunks = split_chunks(body, settings.service_job_max_rows)
        validate_chunk(loaded, chunks[0])  # what is wrong with every row is told at once
        job = job_service.submit(loaded, chunks, context.subject)
        notify()
        answer = _json(job, 202)
        answer.headers["Location"] = f"/v1/jobs/{job.id}"
        return answer

    @routes.get("/v1/jobs/<job>")
    @requires_scope("predict")
    @documented(
        Operation(
            summary="How far a job is, and its predictions once it is done",
            tag="jobs",
            responses={200: JobResponse},
            problems=(JobNotFoundError, JobsUnavailableError),
            path={"job": _ID},
        )
    )
    def state(job: str) -> Response:
        found = _owned(job_service, job)
        answers = job_service.answers(found)
        # Each part's answers are a JSON list: put together as they are, nothing is decoded.
        whole = b"[" + b",".join(each[1:-1] for each in answers) + b"]"
        return _json(found, predictions=msgspec.Raw(whole) if answers else msgspec.UNSET)

    @routes.delete("/v1/jobs/<job>")
    @requires_scope("predict")
    @documented(
        Operation(
            summary="Cancel a job that is not over",
            tag="jobs",
            responses={200: ResponseSpec("The job, cancelled; its rows are forgotten.", JobResponse)},
            problems=(JobNotFoundError, JobFinishedError, JobsUnavailableError),
            path={"job": _ID},
        )
    )
    def cancel(job: str) -> Response:
        return _json(job_service.cancel(_owned(job_service, job), current_request_context().subject))

    return routes


def _submission(settings: Settings) -> Operation:
    """Return what submitting a job takes and answers: of any model, and of one by its signature."""
    summary = "Have many rows predicted by and by"
    accepted = ResponseSpec(
        "The job.",
        JobResponse,
        headers={"Location": "The job's path."},
        links={name: (f"jobs_{name}", {"job": "$response.body#/id"}) for name in ("state_get", "cancel_delete")},
    )
    general = Operation(
        summary,
        "jobs",
        {202: accepted},
        problems=(
            MalformedBodyError, RowsRejectedError, PayloadTooLargeError, UnknownModelError, NoChampionError,
            NotLoadedError, ContentEncodingError, 415, TooManyJobsError, JobsUnavailableError,
        ),
        body=RequestBody(_ROWS),
    )  # fmt: skip

    def of_model(signature: ModelSignature) -> Operation:
        schema = request_schema(signature, settings.service_job_max_rows)
        body = RequestBody(schema, example={"features": [example_row(signature)] * 2})
        return replace(general, summary=f"{summary}: '{signature.model}'", body=body)

    return replace(general, per_model=of_model)


def _owned(job_service: JobService, job: str) -> Job:
    found = job_service.find(job, current_request_context().subject)
    authorize_model(found.model)
    return found


def _json(job: Job, status: int = 200, **more: Any) -> Response:
    answer = JobResponse(**msgspec.structs.asdict(job), request_id=current_request_context().request_id, **more)
    return Response(encode(answer), status=status, mimetype="application/json")
