"""The version that scores in shadow, and its measured divergence."""

from __future__ import annotations

from sqlalchemy import Engine, text

from include.records import ShadowDivergence


def assign_shadow(engine: Engine, model: str, version: int | None, actor: str) -> None:
    """Set the version that scores in shadow; None: no version."""
    with engine.begin() as connection:
        connection.execute(
            text("INSERT INTO sluice.shadow_assignment (model, version, actor) VALUES (:model, :version, :actor)"),
            {"model": model, "version": version, "actor": actor},
        )


def assigned_shadow(engine: Engine, model: str) -> int | None:
    """Return the version that scores in shadow, or None."""
    statement = text(
        "SELECT version FROM (SELECT * FROM sluice.shadow_assignment WHERE model = :model ORDER BY id DESC LIMIT 1)"
        " WHERE version > coalesce((SELECT max(last_version) FROM sluice.model_deletion WHERE model = :model), 0)"
    )
    with engine.connect() as connection:
        return connection.execute(statement, {"model": model}).scalar_one_or_none()


def read_divergences(engine: Engine, model: str, version: int) -> tuple[ShadowDivergence, ...]:
    """Return a version's newest divergence from each source, batch before online; empty if it was never measured."""
    statement = text(
        "SELECT DISTINCT ON (source) model, version, champion_version, source, partition_start, sampled_from,"
        " sampled_to, row_count, refused_rows, rank_correlation, decile_moves, label_flips, run_id"
        " FROM sluice.shadow_divergence WHERE model = :model AND version = :version ORDER BY source, id DESC"
    )
    with engine.connect() as connection:
        rows = connection.execute(statement, {"model": model, "version": version}).mappings()
        return tuple(ShadowDivergence.model_validate(dict(row)) for row in rows)
