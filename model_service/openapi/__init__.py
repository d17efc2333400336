"""The OpenAPI description and the docs page, generated from the routes and the loaded models.

Each view describes its requests and responses beside its route, so that no route can be undescribed (a test walks
``app.url_map``)::

    from model_service.openapi import Operation, Parameter, documented

    @routes.get("/v1/jobs/<job>")
    @documented(
        Operation(
            summary="Get a job",
            tag="jobs",
            responses={200: JobResponse},             # a msgspec.Struct, any type msgspec knows, or a JSON schema
            problems=(JobNotFoundError, JobsUnavailableError),  # error classes; `http/errors.py` has their statuses
            query=(Parameter("page", {"type": "integer", "minimum": 1}, "Number of the page."),),
            path={"job": Parameter("job", {"type": "string", "format": "uuid"}, "The job's id.")},
        )
    )
    def job(job: str) -> Response: ...

- ``documented`` stands directly above the function. It only marks the function and costs nothing per request.
- A request body: ``body=RequestBody(schema)``. A response that is not JSON:
  ``responses={200: ResponseSpec("text", schema, media_type=...)}``. A response without a body:
  ``responses={204: ResponseSpec("Deleted.")}``.
- ``problems`` may contain statuses (``415``) where no error class exists.
- The errors of every route with a scope (401, 403, 429, 503, ...) are listed once, in ``COMMON_PROBLEMS`` and
  ``PROTECTED_PROBLEMS`` of ``operation.py``. Open routes (``@requires_scope("open")``) have none of the latter.
- ``name`` in a path is the name of a model. Other path variables without an entry in ``path`` are strings.
"""

from model_service.openapi.operation import Operation, Parameter, RequestBody, ResponseSpec, documented

__all__ = ["Operation", "Parameter", "RequestBody", "ResponseSpec", "documented"]
