"""Which version scores in the shadow of the champion, and how far it was found to be."""

from __future__ import annotations

from sqlalchemy import Engine, text

from include.records import ShadowDivergence


def set_shadow(engine: Engine, model: str, version: int | None, actor: str) -> None:
    """Have a version score in the shadow from now on; None: no version."""
    with engine.begin() as connection:
        connection.execute(
            text("INSERT INTO sluice.shadow (model, version, actor) VALUES (:model, :version, :actor)"),
            {"model": model, "version": version, "actor": actor},
        )


def shadow_of(engine: Engine, model: str) -> int | None:
    """Return the version that scores in the shadow, or None."""
    statement = text("SELECT version FROM sluice.shadow WHERE model = :model ORDER BY id DESC LIMIT 1")
    with engine.connect() as connection:
        return connection.execute(statement, {"model": model}).scalar_one_or_none()


def last_divergence(engine: Engine, model: str, version: int) -> ShadowDivergence | None:
    """Return the newest divergence of a version, or None when it never was in the shadow."""
    statement = text(
        "SELECT model, version, champion_version, partition_start, row_count, rank_correlation, decile_moves,"
        " label_flips, run_id FROM sluice.shadow_divergence WHERE model = :model AND version = :version"
        " ORDER BY id DESC LIMIT 1"
    )
    with engine.connect() as connection:
        row = connection.execute(statement, {"model": model, "version": version}).mappings().one_or_none()
    return None if row is None else ShadowDivergence.model_validate(dict(row))
