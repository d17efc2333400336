"""``GET /v1/models/<name>/versions``."""

from __future__ import annotations

from datetime import datetime

import msgspec
from flask import Blueprint, Response, request

from include.errors import UnknownModelError
from include.records import ModelVersion, Promotion
from model_service.db.executor import QueryExecutor
from model_service.http.errors import InvalidParameterError, LedgerUnavailableError
from model_service.http.json import json_response
from model_service.http.middleware import requires_scope
from model_service.http.timestamps import parse_timestamp
from model_service.models.registry import ModelRegistry
from model_service.openapi import Operation, Parameter, documented


class PromotionSummary(msgspec.Struct):
    """A promotion that made a version the champion."""

    sequence: int
    from_version: int | None
    promoted_at: datetime
    by: str
    reason: str


class VersionSummary(msgspec.Struct):
    """A registered version."""

    version: int
    champion: bool
    artifact_digest: str
    data_digest: str
    run_id: str
    created_at: datetime
    accepted: bool
    reasons: list[str]
    holdout_rows: int
    metrics: dict[str, float | None]
    promotions: list[PromotionSummary]


class VersionList(msgspec.Struct):
    """The versions of a model; with `at`, only the version that was champion at that time."""

    model: str
    at: datetime | None
    versions: list[VersionSummary]


_AT = Parameter(
    "at",
    {"type": "string", "format": "date-time"},
    "A time (RFC 3339). Only the version that was champion at that time is listed, or none if there was none yet.",
)


def version_routes(registry: ModelRegistry, executor: QueryExecutor | None) -> Blueprint:
    """Return the blueprint of ``GET /v1/models/<name>/versions``."""
    routes = Blueprint("versions", __name__)

    @routes.get("/v1/models/<name>/versions")
    @requires_scope("models")
    @documented(
        Operation(
            summary="List a model's versions, or the champion at a given time",
            tag="models",
            responses={200: VersionList},
            problems=(InvalidParameterError, UnknownModelError, LedgerUnavailableError),
            query=(_AT,),
        )
    )
    def versions(name: str) -> Response:
        model = registry[name].name
        at = parse_timestamp("at", request.args.get("at"))
        if executor is None:
            raise LedgerUnavailableError
        registered, history, then = executor.run_with_ledger(
            lambda ledger: (
                # The champion at a time is history, which a deletion of the model does not change.
                ledger.versions(model, with_deleted=at is not None),
                ledger.promotions(model, with_deleted=at is not None),
                None if at is None else ledger.champion_at(model, at, with_deleted=True),
            )
        )
        champion = history[-1].to_version if history else None
        if at is not None:
            champion = then.to_version if then else None
            registered = tuple(each for each in registered if each.version == champion)
        summaries = [_summarize(each, history, each.version == champion) for each in registered]
        return json_response(VersionList(model, at, summaries))

    return routes


def _summarize(version: ModelVersion, history: tuple[Promotion, ...], champion: bool) -> VersionSummary:
    return VersionSummary(
        version=version.version,
        champion=champion,
        artifact_digest=version.artifact_digest,
        data_digest=version.data_digest,
        run_id=version.run_id,
        created_at=version.created_at,
        accepted=version.decision.accepted,
        reasons=list(version.decision.reasons),
        holdout_rows=version.evaluation.rows,
        metrics=dict(version.evaluation.candidate),
        promotions=[
            PromotionSummary(each.sequence, each.from_version, each.promoted_at, each.actor, each.reason)
            for each in history
            if each.to_version == version.version
        ],
    )
