"""Asynchronous predictions: submit a job, query its state and result, cancel it."""

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
from model_service.http.json import json_response
from model_service.http.json_structure import check_depth
from model_service.http.middleware import authorize_model, current_request_context, requires_scope
from model_service.http.responses import Prediction
from model_service.jobs.chunks import split_chunks, validate_chunk
from model_service.jobs.repository import Job
from model_service.jobs.service import JobService
from model_service.models.registry import ModelRegistry
from model_service.openapi import Operation, Parameter, RequestBody, ResponseSpec, documented
from model_service.openapi.signatures import example_row, request_schema


class JobResponse(Job, kw_only=True):
    """A job; once it is done, with one prediction per row, in their order."""

    request_id: str
    predictions: list[Prediction] | msgspec.UnsetType = msgspec.UNSET


_MAX_BYTES_SETTING: Final = "SLUICE_SERVICE_JOB_MAX_BYTES"
_ID = Parameter("job", {"type": "string", "format": "uuid"}, "The job's id.")
_ROWS = {
    "type": "object",
    "properties": {
        "features": {"description": "One row or a list of rows, as for a prediction.", "type": ["array", "object"]}
    },
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
        Called after a job was submitted.
    """
    routes = Blueprint("jobs", __name__)
    max_bytes = settings.service_job_max_bytes

    @routes.post("/v1/models/<name>/predict_async")
    @requires_scope("predict")
    @documented(_submission(settings))
    def submit(name: str) -> Response:
        context, environ = current_request_context(), request.environ
        # Bound now: one version answers all rows, whatever is promoted meanwhile.
        loaded = registry[name].require_loaded()
        context.version = loaded.version
        body = read_body(environ, max_bytes, _MAX_BYTES_SETTING)
        body = decompress(body, environ.get("HTTP_CONTENT_ENCODING"), max_bytes, _MAX_BYTES_SETTING)
        max_rows = settings.service_job_max_rows
        check_depth(body, settings.service_max_depth, max_rows, "SLUICE_SERVICE_JOB_MAX_ROWS")
        chunks = split_chunks(body, max_rows, loaded.encoder)
        validate_chunk(loaded, chunks[0])  # so that an error in every row is reported immediately
        job = job_service.submit(loaded, chunks, context.subject)
        notify()
        response = _json(job, 202)
        response.headers["Location"] = f"/v1/jobs/{job.id}"
        return response

    @routes.get("/v1/jobs/<job>")
    @requires_scope("predict")
    @documented(
        Operation(
            summary="Get a job: its progress, and its predictions once it is done",
            tag="jobs",
            responses={200: JobResponse},
            problems=(JobNotFoundError, JobsUnavailableError),
            path={"job": _ID},
        )
    )
    def state(job: str) -> Response:
        found = _owned(job_service, job)
        chunks = job_service.predictions(found)
        # Each chunk is a JSON list: they are concatenated without decoding.
        whole = b"[" + b",".join(each[1:-1] for each in chunks) + b"]"
        return _json(found, predictions=msgspec.Raw(whole) if chunks else msgspec.UNSET)

    @routes.delete("/v1/jobs/<job>")
    @requires_scope("predict")
    @documented(
        Operation(
            summary="Cancel a queued or running job",
            tag="jobs",
            responses={200: ResponseSpec("The cancelled job. Its rows are deleted.", JobResponse)},
            problems=(JobNotFoundError, JobFinishedError, JobsUnavailableError),
            path={"job": _ID},
        )
    )
    def cancel(job: str) -> Response:
        return _json(job_service.cancel(_owned(job_service, job), current_request_context().subject))

    return routes


def _submission(settings: Settings) -> Operation:
    """Describe the submission of a job: for any model, and for a loaded model by its signature."""
    summary = "Submit an asynchronous prediction job"
    accepted = ResponseSpec(
        "The job.",
        JobResponse,
        headers={"Location": "The path of the job."},
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
    response = JobResponse(**msgspec.structs.asdict(job), request_id=current_request_context().request_id, **more)
    return json_response(response, status)
