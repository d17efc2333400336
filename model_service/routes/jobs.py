"""Asynchronous predictions: submit a job, query its state and result, list and delete jobs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from threading import BoundedSemaphore
from typing import Final, cast
from uuid import UUID

import msgspec
from flask import Blueprint, Response, request

from include.errors import NoChampionError, RowsRejectedError, UnknownModelError
from include.inference import ModelSignature
from include.settings import Settings
from model_service.http.body import read_body
from model_service.http.compression import decompress
from model_service.http.errors import (
    ContentEncodingError,
    InvalidParameterError,
    JobNotDoneError,
    JobNotFoundError,
    JobQuotaExceededError,
    JobsUnavailableError,
    MalformedBodyError,
    NotLoadedError,
    PayloadTooLargeError,
    TooManyJobsError,
)
from model_service.http.json import json_response
from model_service.http.limits import LargeBodySemaphore
from model_service.http.middleware import authorize_model, current_request_context, requires_scope
from model_service.http.responses import Prediction
from model_service.http.score_params import parse_integer, reject_unknown_parameters
from model_service.jobs.chunks import chunk_rows, max_prediction_bytes, split_chunks, validate_chunk
from model_service.jobs.quotas import QuotaKind
from model_service.jobs.repository import Job, JobChunk
from model_service.jobs.service import JobService
from model_service.models.registry import LoadedModel, ModelRegistry
from model_service.openapi import Operation, Parameter, RequestBody, ResponseSpec, documented
from model_service.openapi.signatures import example_row, request_schema


class JobResponse(Job, kw_only=True):
    """A job. Once it is done, its predictions are at ``/v1/jobs/<job>/predictions``."""

    request_id: str


class JobListResponse(msgspec.Struct):
    """Jobs of the caller, newest first, what all of them take, and the caller's quotas."""

    jobs: list[Job]
    next_offset: int | None
    used: dict[QuotaKind, int]
    limits: dict[QuotaKind, int]
    request_id: str


class JobPredictionsResponse(msgspec.Struct):
    """Predictions of a job for consecutive rows from `offset`; `next_offset` is null after the last row."""

    id: UUID
    model: str
    version: int
    artifact_digest: str
    rows: int
    offset: int
    predictions: list[Prediction]
    next_offset: int | None
    request_id: str


# Jobs that are decompressed and split at the same time, until the database has them: each takes several times
# SLUICE_SERVICE_JOB_MAX_BYTES. More than the database's executor has threads would only wait for it.
MAX_IN_MEMORY: Final = 4
MAX_LISTED: Final = 100
MAX_RESULT_ROWS: Final = 10_000
_MAX_BYTES_SETTING: Final = "SLUICE_SERVICE_JOB_MAX_BYTES"
_MAX_OFFSET: Final = 2**31 - 1
_ID = Parameter("job", {"type": "string", "format": "uuid"}, "The job's id.")
_OFFSET = Parameter(
    "offset", {"type": "integer", "minimum": 0, "maximum": _MAX_OFFSET}, "Position of the first one, from 0."
)
_ROWS = {
    "type": "object",
    "properties": {
        "features": {"description": "One row or a list of rows, as for a prediction.", "type": ["array", "object"]}
    },
    "required": ["features"],
    "additionalProperties": False,
}


def job_routes(
    settings: Settings,
    registry: ModelRegistry,
    job_service: JobService,
    large_bodies: LargeBodySemaphore,
    notify: Callable[[], None] = lambda: None,
) -> Blueprint:
    """Return the blueprint of ``POST /v1/models/<name>/predict_async`` and the routes of ``/v1/jobs``.

    Parameters
    ----------
    settings : Settings
    registry : ModelRegistry
    job_service : JobService
    large_bodies : LargeBodySemaphore
        Limits how many bodies are parsed at the same time.
    notify : callable
        Called after a job was submitted.
    """
    routes = Blueprint("jobs", __name__)
    in_memory = BoundedSemaphore(MAX_IN_MEMORY)
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
        job_service.check_room(context.subject)  # before any work on the body
        with in_memory:
            with large_bodies.limit(body):
                body = decompress(body, environ.get("HTTP_CONTENT_ENCODING"), max_bytes, _MAX_BYTES_SETTING)
                chunks = _chunks(body, settings, loaded)
            job = job_service.submit(loaded, chunks, context.subject)
        notify()
        response = _json(job, 202)
        response.headers["Location"] = f"/v1/jobs/{job.id}"
        return response

    @routes.get("/v1/jobs")
    @requires_scope("predict")
    @documented(
        Operation(
            summary="List the caller's jobs, newest first, with its quotas",
            tag="jobs",
            responses={200: JobListResponse},
            problems=(InvalidParameterError, JobsUnavailableError),
            query=(_OFFSET, _limit_parameter(MAX_LISTED)),
        )
    )
    def jobs() -> Response:
        context = current_request_context()
        offset, limit = _range(request.args.to_dict(), MAX_LISTED)
        allowed = context.principal.models if context.principal else None
        found, used = job_service.jobs_of(context.subject, allowed, offset, limit + 1)
        limits = {quota.kind: quota.limit for quota in job_service.quotas if quota.per_caller}
        more = offset + limit if len(found) > limit else None
        return json_response(JobListResponse(found[:limit], more, used.by_kind(), limits, context.request_id))

    @routes.get("/v1/jobs/<job>")
    @requires_scope("predict")
    @documented(
        Operation(
            summary="Get the state and progress of a job",
            tag="jobs",
            responses={200: JobResponse},
            problems=(JobNotFoundError, JobsUnavailableError),
            path={"job": _ID},
        )
    )
    def state(job: str) -> Response:
        return _json(_owned(job_service, job))

    @routes.get("/v1/jobs/<job>/predictions")
    @requires_scope("predict")
    @documented(
        Operation(
            summary="Get the predictions of a job that is done, in parts",
            tag="jobs",
            responses={200: JobPredictionsResponse},
            problems=(InvalidParameterError, JobNotFoundError, JobNotDoneError, JobsUnavailableError),
            query=(_OFFSET, _limit_parameter(MAX_RESULT_ROWS)),
            path={"job": _ID},
        )
    )
    def predictions(job: str) -> Response:
        offset, limit = _range(request.args.to_dict(), MAX_RESULT_ROWS)
        found = _owned(job_service, job)
        page = job_service.predictions(found, offset, limit)
        return json_response(
            JobPredictionsResponse(
                *(found.id, found.model, found.version, found.artifact_digest, found.rows, offset),
                cast(list[Prediction], msgspec.Raw(page.predictions)),  # the stored JSON, not decoded
                page.next_offset,
                current_request_context().request_id,
            )
        )

    @routes.delete("/v1/jobs/<job>")
    @requires_scope("predict")
    @documented(
        Operation(
            summary="Delete a job, whatever its state",
            tag="jobs",
            responses={200: ResponseSpec("The job as it was. It is deleted, with rows and predictions.", JobResponse)},
            problems=(JobNotFoundError, JobsUnavailableError),
            path={"job": _ID},
        )
    )
    def delete(job: str) -> Response:
        return _json(job_service.delete(_owned(job_service, job), current_request_context().subject))

    return routes


def _chunks(body: bytes, settings: Settings, loaded: LoadedModel) -> list[JobChunk]:
    """Return the chunks of a decompressed body; an error in every row is reported immediately."""
    chunks = split_chunks(
        body,
        settings.service_job_max_rows,
        loaded.encoder,
        rows_per_chunk=chunk_rows(max_prediction_bytes(loaded.classes)),
        max_other_bytes=settings.service_max_bytes,
        max_depth=settings.service_max_depth,
    )
    validate_chunk(loaded, chunks[0])
    return chunks


def _limit_parameter(maximum: int) -> Parameter:
    schema = {"type": "integer", "minimum": 1, "maximum": maximum}
    return Parameter("limit", schema, f"Maximum number on a page, and the default: {maximum}.")


def _range(given: dict[str, str], maximum: int) -> tuple[int, int]:
    """Return the parameters offset and limit of a request for a part of a list."""
    reject_unknown_parameters(given, ("offset", "limit"))
    return (
        parse_integer("offset", given.get("offset"), default=0, minimum=0, maximum=_MAX_OFFSET),
        parse_integer("limit", given.get("limit"), default=maximum, minimum=1, maximum=maximum),
    )


def _submission(settings: Settings) -> Operation:
    """Describe the submission of a job: for any model, and for a loaded model by its signature."""
    summary = "Submit an asynchronous prediction job"
    accepted = ResponseSpec(
        "The job.",
        JobResponse,
        headers={"Location": "The path of the job."},
        links={
            name: (f"jobs_{name}", {"job": "$response.body#/id"})
            for name in ("state_get", "predictions_get", "delete_delete")
        },
    )
    general = Operation(
        summary,
        "jobs",
        {202: accepted},
        problems=(
            MalformedBodyError, RowsRejectedError, PayloadTooLargeError, UnknownModelError, NoChampionError,
            NotLoadedError, ContentEncodingError, 415, JobQuotaExceededError, TooManyJobsError,
            JobsUnavailableError,
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


def _json(job: Job, status: int = 200) -> Response:
    response = JobResponse(**msgspec.structs.asdict(job), request_id=current_request_context().request_id)
    return json_response(response, status)
