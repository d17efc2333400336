"""Score tables: made from the spec when a model first scores, since a model is declared by adding a folder.

Alembic keeps what belongs to Sluice; what belongs to a model follows from its declaration (see
docs/decisions/0003-score-tables-follow-the-spec.md).
"""

from __future__ import annotations

from sqlalchemy import Connection, Engine, text

from include.errors import DatabaseError
from include.spec import ModelSpec


def score_columns(spec: ModelSpec) -> tuple[str, ...]:
    """Return the columns that hold the answer: one probability a class, or the value."""
    return tuple(f"p_{label}" for label in spec.target.classes) or ("value",)


def ensure_score_table(engine: Engine, spec: ModelSpec) -> None:
    """Make ``scores.<model>`` and its ``_latest`` view unless they are there.

    Raises
    ------
    DatabaseError
        When the table is there with other columns, because the classes were changed.
    """
    columns = score_columns(spec)
    answer = "".join(f'    "{column}" double precision NOT NULL,\n' for column in columns)
    predicted = "    predicted_label text NOT NULL,\n" if spec.target.classes else ""
    table = f'scores."{spec.name}"'
    with engine.begin() as connection:
        advisory_lock(connection, f"sluice.table.{spec.name}")
        if connection.execute(text("SELECT to_regclass(:name)"), {"name": table}).scalar() is not None:
            _check_columns(connection, spec)
            return
        # Every name below is an identifier that ModelSpec has checked.
        connection.exec_driver_sql(
            f"CREATE TABLE {table} (\n"
            "    partition_start timestamptz NOT NULL,\n"
            f"    entity_key {spec.entity_key.type} NOT NULL,\n"
            "    event_time timestamptz NOT NULL,\n"
            f"{answer}{predicted}"
            "    model_version integer NOT NULL,\n"
            "    scored_at timestamptz NOT NULL DEFAULT now(),\n"
            "    PRIMARY KEY (entity_key, partition_start)\n"
            ") PARTITION BY RANGE (partition_start)"
        )
        connection.exec_driver_sql(
            f'CREATE VIEW scores."{spec.name}_latest" AS SELECT DISTINCT ON (entity_key) * FROM {table} '  # noqa: S608  # checked, as above
            "ORDER BY entity_key, partition_start DESC"
        )
        for relation in (table, f'scores."{spec.name}_latest"'):
            _comment(connection, spec, relation)


def _check_columns(connection: Connection, spec: ModelSpec) -> None:
    found = {
        str(name)
        for name in connection.execute(
            text("SELECT column_name FROM information_schema.columns WHERE table_schema='scores' AND table_name=:name"),
            {"name": spec.name},
        ).scalars()
    }
    answers = {name for name in found if name.startswith("p_") or name == "value"}
    if answers != set(score_columns(spec)):
        raise DatabaseError(
            f'scores."{spec.name}": expected the answer columns {sorted(score_columns(spec))}, as spec.py declares; '
            f"found {sorted(answers)}. The classes or the task were changed: give the changed model a new name, "
            "so that the published scores stay readable."
        )


def _comment(connection: Connection, spec: ModelSpec, relation: str) -> None:
    comments = {
        "partition_start": "Start of the partition (UTC); published as a whole, see sluice.published_partition",
        "entity_key": f"The source's {spec.entity_key.column}",
        "event_time": f"The source's {spec.event_time}",
        "model_version": "Version of the model that scored the row, see sluice.model_version",
        "scored_at": "When the partition was scored",
    }
    comments |= {f"p_{label}": f"Probability of class {label}" for label in spec.target.classes}
    comments |= (
        {"predicted_label": "The most probable class"} if spec.target.classes else {"value": "The predicted value"}
    )
    for column, comment in comments.items():
        escaped = comment.replace("'", "''")
        connection.exec_driver_sql(f"COMMENT ON COLUMN {relation}.\"{column}\" IS '{escaped}'")


def advisory_lock(connection: Connection, name: str) -> None:
    """Wait until nobody else holds the lock of this name; it is let go when the transaction ends."""
    connection.execute(text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))"), {"name": name})
