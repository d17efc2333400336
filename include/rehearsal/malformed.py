"""Requests that a service must refuse: each with a status from 400 to 499 and a problem document (RFC 9457)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from include.inference import ModelSignature
from include.inference.feature_types import feature_type
from include.service_client import ServiceClient, ServiceResponse, request_body
from include.settings import Settings

PROBLEM = "application/problem+json"
DEPTH = 600  # deeper than any configurable limit


class Malformed(NamedTuple):
    """One kind of request that the service must refuse."""

    what: str
    body: bytes
    method: str = "POST"
    model: str | None = None
    more: Mapping[str, str] = MappingProxyType({})


def malformed_requests(signature: ModelSignature, row: dict[str, Any], settings: Settings) -> Iterator[Malformed]:
    """Yield one request of each kind, made from a valid `row`.

    Parameters
    ----------
    signature : ModelSignature
        Of the candidate; it determines which values are invalid.
    row : dict
        Features by name.
    settings : Settings
        They contain the limits on rows and bytes.
    """
    good = request_body(row)
    name = signature.names[0]
    yield Malformed("an empty body", b"")
    yield Malformed("a body that is not JSON", b"features=1")
    yield Malformed("a body cut in the middle", good[: len(good) // 2])
    yield Malformed("a list in place of the object", b"[1, 2, 3]")
    yield Malformed("an object without features", b"{}")
    yield Malformed("an unknown member", good[:-1] + b', "weights": [1]}')
    yield Malformed("no row", request_body([]))
    yield Malformed("a missing feature", request_body({each: value for each, value in row.items() if each != name}))
    yield Malformed("an unknown feature", request_body({**row, "no_such_feature": 1}))
    yield Malformed("an object as a value", request_body({**row, name: {"nested": 1}}))
    yield Malformed("NaN, which JSON does not have", request_body({**row, name: float("nan")}))
    yield Malformed("a row that is too short", request_body([row[each] for each in signature.names][:-1]))
    yield from (Malformed(what, request_body({**row, each: value})) for each, value, what in _unfit_values(signature))
    yield Malformed("nesting without end", b'{"features": ' + b"[" * DEPTH + b"]" * DEPTH + b"}")
    yield Malformed("too many rows", request_body([[0]] * (settings.service_max_rows + 1)))
    yield Malformed("too many bytes", good, more={"Content-Length": str(settings.service_max_bytes + 1)})
    yield Malformed("a method that the route does not support", b"", method="DELETE")
    yield Malformed("a model that is not served", good, model="no_such_model")
    yield Malformed("an invalid token", good, more={"Authorization": "Bearer a.b.c"})


def malformed_faults(
    client: ServiceClient, signature: ModelSignature, row: dict[str, Any], settings: Settings
) -> Iterator[str]:
    """Send one request of each kind; yield a sentence for each that was not refused correctly."""
    for each in malformed_requests(signature, row, settings):
        path = f"/v1/models/{each.model or signature.model}/predict"
        answer = client.send(each.method, path, each.body, each.more)
        if not _refused(answer):
            shown = answer.body[:200].decode(errors="replace")
            yield (
                f"{each.what}: expected a refusal (status 4xx with a problem document); "
                f"found {answer.status} {answer.media_type}: {shown}"
            )


def _refused(answer: ServiceResponse) -> bool:
    problem = answer.document
    return (
        400 <= answer.status < 500  # client errors
        and answer.media_type == PROBLEM
        and isinstance(problem, dict)
        and problem.get("status") == answer.status
        and bool(problem.get("title"))
    )


def _unfit_values(signature: ModelSignature) -> Iterator[tuple[str, Any, str]]:
    """Yield invalid values for each kind of feature in the signature."""
    seen = set()
    for feature in signature.features:
        for value, what in feature_type(feature).invalid_values():
            if what not in seen:
                seen.add(what)
                yield feature.name, value, what
