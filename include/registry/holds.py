"""Holds: while one is in force, no retrain promotes a version of the model. Rows are only added."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import IntegrityError

from include.errors import HoldError
from include.records import PromotionHold

_HOLD = """
    INSERT INTO sluice.promotion_hold (model, held, held_until, actor, reason)
    VALUES (:model, true, :until, :actor, :reason)
    RETURNING model, held_until, actor, reason, set_at
"""
_LIFT = """
    INSERT INTO sluice.promotion_hold (model, held, actor, reason)
    SELECT model, false, :actor, :reason FROM sluice.active_hold WHERE model = :model
    RETURNING id
"""
_ACTIVE = "SELECT model, held_until, actor, reason, set_at FROM sluice.active_hold"
_ENDS_LATER = "ends_later"


def set_hold(engine: Engine, model: str, actor: str, reason: str, until: datetime | None = None) -> PromotionHold:
    """Hold the promotions of a model from now on; a hold that is in force is replaced.

    Parameters
    ----------
    until : datetime, optional
        When the hold ends; by default when somebody lifts it.

    Raises
    ------
    HoldError
        When `until` is not later than now, by the clock of the database.
    """
    try:
        with engine.begin() as connection:
            return write_hold(connection, model, actor, reason, until)
    except IntegrityError as error:
        if _ENDS_LATER not in str(error.orig) or until is None:
            raise
        found = f"{until.isoformat()}, which is over"
        advice = "Name a later time, or none: then the hold is in force until somebody lifts it."
        raise HoldError(model, "an end in the future", found, advice) from error


def write_hold(
    connection: Connection, model: str, actor: str, reason: str, until: datetime | None = None
) -> PromotionHold:
    """Hold the promotions of a model as part of the caller's transaction."""
    row = {"model": model, "until": until, "actor": actor, "reason": reason}
    return PromotionHold.model_validate(dict(connection.execute(text(_HOLD), row).mappings().one()))


def lift_hold(engine: Engine, model: str, actor: str, reason: str) -> PromotionHold | None:
    """Lift the hold of a model, and return it; None, and nothing is written, when none is in force."""
    with engine.begin() as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))"), {"name": _lock(model)})
        hold = _active(connection, model)
        if hold is not None:
            row = {"model": model, "actor": actor, "reason": reason}
            connection.execute(text(_LIFT), row)
        return hold


def active_hold(engine: Engine, model: str) -> PromotionHold | None:
    """Return the hold that is in force for a model, by the clock of the database; None when there is none."""
    with engine.connect() as connection:
        return _active(connection, model)


def active_holds(engine: Engine) -> dict[str, PromotionHold]:
    """Return the hold of every model that has one in force."""
    with engine.connect() as connection:
        found = [PromotionHold.model_validate(dict(row)) for row in connection.execute(text(_ACTIVE)).mappings()]
    return {hold.model: hold for hold in found}


def _active(connection: Connection, model: str) -> PromotionHold | None:
    row = connection.execute(text(f"{_ACTIVE} WHERE model = :model"), {"model": model}).mappings().one_or_none()
    return None if row is None else PromotionHold.model_validate(dict(row))


def _lock(model: str) -> str:
    return f"sluice.promotion.{model}"
