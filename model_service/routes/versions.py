"""The route that tells which versions there are, and which of them was champion when."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec
from flask import Blueprint, Response, request

from include.errors import UnknownModelError
from include.records import ModelVersion, Promotion
from include.schedule import parse_rfc3339
from model_service.db.ledger_reads import LedgerReads
from model_service.http.errors import InvalidParameterError, LedgerUnavailableError
from model_service.http.middleware import requires_scope
from model_service.http.responses import encode
from model_service.models.registry import ModelRegistry
from model_service.openapi import Operation, Parameter, documented


class PromotionSummary(msgspec.Struct):
    """One move that made a version the champion."""

    sequence: int
    from_version: int | None
    promoted_at: datetime
    by: str
    reason: str


class VersionSummary(msgspec.Struct):
    """One registered version."""

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
    """The versions of a model; with `at`, only the one that was champion then."""

    model: str
    at: datetime | None
    versions: list[VersionSummary]


_AT = Parameter(
    "at",
    {"type": "string", "format": "date-time"},
    "A time (RFC 3339): only the version that was champion then is told, or none if there was none yet.",
)


def version_routes(registry: ModelRegistry, ledger: LedgerReads | None) -> Blueprint:
    """Return the blueprint of ``GET /v1/models/<name>/versions``."""
    routes = Blueprint("versions", __name__)

    @routes.get("/v1/models/<name>/versions")
    @requires_scope("models")
    @documented(
        Operation(
            summary="Every registered version, or the one that was champion at a time",
            tag="models",
            responses={200: VersionList},
            problems=(InvalidParameterError, UnknownModelError, LedgerUnavailableError),
            query=(_AT,),
        )
    )
    def versions(name: str) -> Response:
        model = registry[name].name
        at = parse_timestamp("at", request.args.get("at"))
        if ledger is None:
            raise LedgerUnavailableError
        registered, history, then = ledger.ask(
            lambda reached: (
                reached.versions(model),
                reached.promotions(model),
                None if at is None else reached.champion_at(model, at),
            )
        )
        champion = history[-1].to_version if history else None
        if at is not None:
            champion = then.to_version if then else None
            registered = tuple(each for each in registered if each.version == champion)
        shown = [_shown(each, history, each.version == champion) for each in registered]
        return Response(encode(VersionList(model, at, shown)), mimetype="application/json")

    return routes


def parse_timestamp(name: str, text: str | None) -> datetime | None:
    """Return the time that the query's parameter `name` holds.

    Raises
    ------
    InvalidParameterError
        If it is not a time as RFC 3339 writes it.
    """
    if text is None:
        return None
    try:
        return parse_rfc3339(text)
    except ValueError:
        raise InvalidParameterError(name, "a time such as 2026-11-23T12:00:00Z (RFC 3339)", text) from None


def metrics_of(version: ModelVersion) -> dict[str, Any]:
    """Return what a version's evaluation measured on its holdout."""
    return dict(version.evaluation.candidate)


def _shown(version: ModelVersion, history: tuple[Promotion, ...], champion: bool) -> VersionSummary:
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
        metrics=metrics_of(version),
        promotions=[
            PromotionSummary(each.sequence, each.from_version, each.promoted_at, each.actor, each.reason)
            for each in history
            if each.to_version == version.version
        ],
    )
