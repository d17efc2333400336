"""The service describes itself: ``/openapi.json`` and ``/docs`` are made from the routes and the loaded models.

Every view says beside its route what it takes and answers, so that a route cannot exist undescribed
(a test walks ``app.url_map``), nor a description without its route::

    from model_service.openapi import Operation, Parameter, documented

    @routes.get("/v1/jobs/<job>")
    @documented(
        Operation(
            summary="How far a job is",
            tag="jobs",
            responses={200: JobState},                  # a msgspec.Struct, any type msgspec knows, or a JSON schema
            problems=(JobNotFoundError, DatabaseGoneError),  # the types; `problems.py` knows their statuses
            query=(Parameter("page", {"type": "integer", "minimum": 1}, "Which page."),),
            path={"job": Parameter("job", {"type": "string", "format": "uuid"}, "The job's id.")},
        )
    )
    def job(job: str) -> Response: ...

- ``documented`` stands directly above the function; it only marks it, a request never meets it.
- A body: ``body=RequestBody(schema)``; an answer that is not JSON: ``responses={200: ResponseSpec("text", schema, media_type=...)}``;
  an answer without a body: ``responses={204: ResponseSpec("It is gone")}``.
- ``problems`` may hold bare statuses too (``415``), for what has no error type of its own.
- What every guarded route can answer (401, 403, 429, 503, ...) is said once, in ``COMMON_PROBLEMS`` and ``PROTECTED_PROBLEMS`` of
  ``operation.py``; an open route (``@requires_scope("open")``) answers none of them.
- ``name`` in a path is known to be a model's name; other path variables without an entry in ``path`` are strings.
"""

from model_service.openapi.operation import Operation, Parameter, RequestBody, ResponseSpec, documented

__all__ = ["Operation", "Parameter", "RequestBody", "ResponseSpec", "documented"]
