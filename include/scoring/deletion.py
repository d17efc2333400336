"""The relations of a deleted model: found, checked for objects that depend on them, and dropped.

They are recognized by their names, which no other model can have (see `include.spec.base.check_model_name`), and by
their kind. What Sluice did not make is never dropped: there is no CASCADE, and who depends on a relation is named.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import Connection, text
from sqlalchemy.exc import OperationalError

from include.errors import DatabaseError, ModelInUseError

LOCK_TIMEOUT = "30s"

# A partition, its hash partitions (_s), and the staging table of an attempt (_a).
_PARTITION = r"_p\d{8}_\d{4}(_[as]\d+)*"
_OURS = """
    SELECT relation.oid, nspname AS schema, relname AS name, relkind::text AS kind, relispartition AS is_partition
    FROM pg_class AS relation JOIN pg_namespace ON pg_namespace.oid = relnamespace
    WHERE nspname = 'scores' AND (relname, relkind::text) IN ((:model, 'p'), (:latest, 'v'), (:shadow, 'r'))
       OR nspname IN ('scores', 'staging') AND relkind IN ('r', 'p') AND relname ~ :partition
    ORDER BY relkind <> 'v', relispartition, nspname, relname
"""
# Normal dependencies only: automatic ones, such as an index or a default, are part of a relation and go with it.
_DEPENDENTS = """
    WITH RECURSIVE relation(oid) AS (
        SELECT unnest(cast(:ours AS oid[]))
        UNION
        SELECT rule.ev_class FROM relation JOIN pg_depend AS dependency
          ON dependency.refclassid = 'pg_class'::regclass AND dependency.refobjid = relation.oid
        JOIN pg_rewrite AS rule ON dependency.classid = 'pg_rewrite'::regclass AND rule.oid = dependency.objid
    ), referred(classid, objid) AS (
        SELECT 'pg_class'::regclass::oid, oid FROM relation
        UNION SELECT 'pg_type'::regclass::oid, pg_type.oid FROM pg_type JOIN relation ON typrelid = relation.oid
        UNION SELECT 'pg_type'::regclass::oid, typarray FROM pg_type JOIN relation ON typrelid = relation.oid
    ), dependent AS (
        SELECT dependency.classid, dependency.objid, dependency.objsubid FROM pg_depend AS dependency
        JOIN referred ON dependency.refclassid = referred.classid AND dependency.refobjid = referred.objid
        WHERE dependency.deptype = 'n'
    ), named AS (
        SELECT CASE WHEN rule.oid IS NULL
                    THEN pg_describe_object(dependent.classid, dependent.objid, dependent.objsubid)
                    ELSE pg_describe_object('pg_class'::regclass, rule.ev_class, 0) END AS name
        FROM dependent
        LEFT JOIN pg_rewrite AS rule ON dependent.classid = 'pg_rewrite'::regclass AND rule.oid = dependent.objid
        LEFT JOIN pg_constraint AS link
          ON dependent.classid = 'pg_constraint'::regclass AND link.oid = dependent.objid
        WHERE coalesce(rule.ev_class, link.conrelid, 0::oid) <> ALL (cast(:ours AS oid[]))
          AND coalesce(link.conparentid, 0::oid) = 0::oid
          AND NOT (dependent.classid = 'pg_class'::regclass AND dependent.objid = ANY (cast(:ours AS oid[])))
        UNION
        SELECT pg_describe_object('pg_class'::regclass, inhrelid, 0) FROM pg_inherits
        WHERE inhparent = ANY (cast(:ours AS oid[])) AND inhrelid <> ALL (cast(:ours AS oid[]))
    )
    SELECT DISTINCT name FROM named ORDER BY name
"""


@dataclass(frozen=True, slots=True)
class ScoreRelations:
    """The relations of a model.

    Attributes
    ----------
    names : tuple of str
        In schema ``scores``: the views, the tables, and detached partitions that retention left.
    staging : tuple of str
        In schema ``staging``.
    dependents : tuple of str
        Objects that Sluice did not make and that keep the relations from being dropped.
    """

    names: tuple[str, ...]
    staging: tuple[str, ...]
    dependents: tuple[str, ...]


class _Relation(NamedTuple):
    oid: int
    schema: str
    name: str
    kind: str
    is_partition: bool


def find_relations(connection: Connection, model: str) -> ScoreRelations:
    """Return the relations of a model that exist, each qualified by its schema."""
    ours = _ours(connection, model)
    found = connection.execute(text(_DEPENDENTS), {"ours": [each.oid for each in ours]}).scalars()
    names = [(each.schema, f"{each.schema}.{each.name}") for each in ours if not each.is_partition]
    return ScoreRelations(
        names=tuple(name for schema, name in names if schema == "scores"),
        staging=tuple(name for schema, name in names if schema == "staging"),
        dependents=tuple(found),
    )


def drop_relations(connection: Connection, model: str) -> None:
    """Drop the relations of a model in the caller's transaction. It waits at most 30 seconds for those who use them.

    Raises
    ------
    ModelInUseError
        When objects that Sluice did not make depend on them.
    DatabaseError
        When somebody uses them for longer, or there are too many for one transaction. The caller's transaction is then
        of no use any more.
    """
    connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")
    relations = find_relations(connection, model)
    if relations.dependents:
        raise ModelInUseError(model, relations.dependents)
    try:
        for each in _ours(connection, model):
            if not each.is_partition:  # partitions go with their table
                kind = "VIEW" if each.kind == "v" else "TABLE"
                connection.exec_driver_sql(f'DROP {kind} IF EXISTS {each.schema}."{each.name}"')  # checked identifiers
    except OperationalError as error:
        state = getattr(error.orig, "sqlstate", None)
        if state == "55P03":  # lock_not_available
            raise DatabaseError(
                f"model '{model}': expected that nobody uses its tables; found a query or a run that did for "
                f"{LOCK_TIMEOUT}. Nothing was deleted. Wait for its end, or end it, then run `sluice delete {model}` "
                "again."
            ) from error
        if state == "53200":  # out_of_memory: of the table of locks
            raise DatabaseError(
                f"model '{model}': expected that the server can lock all tables of the model in one transaction; found "
                "that it has too many partitions. Nothing was deleted. Set max_locks_per_transaction of the server to "
                f"four times the number of partitions and restart it, then run `sluice delete {model}` again."
            ) from error
        raise


def _ours(connection: Connection, model: str) -> list[_Relation]:
    """Return every relation of the model, the partitions of its tables too; views come first."""
    names = {"model": model, "latest": f"{model}_latest", "shadow": f"{model}_shadow"}
    rows = connection.execute(text(_OURS), names | {"partition": f"^{model}{_PARTITION}$"})
    return [_Relation(*row) for row in rows]
