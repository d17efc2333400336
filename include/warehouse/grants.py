"""The right to read a schema of the user's tables: who needs it, how it is granted, and what is missing."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

import psycopg
from psycopg.sql import SQL, Composed, Identifier
from sqlalchemy.exc import DBAPIError

from include.errors import MissingGrantError, QueryError, SluiceError, SourceQueryError
from include.sessions import SESSION_STATEMENT, libpq_url

READERS: Final = ("sluice_trainer", "sluice_operator")
"""The roles that read the source: to retrain, and to plan a version's query before it is promoted."""

_OWN: Final = frozenset({"sluice", "sluice_jobs", "sluice_scratch", "scores", "staging", "information_schema"})
_DENIED: Final = re.compile(r"permission denied for (schema|table|view|materialized view|foreign table) ([^\n]*)")
_OWNERS: Final = """
    SELECT DISTINCT owner.rolname, pg_has_role(owner.oid, 'USAGE')
    FROM pg_namespace AS space
    LEFT JOIN pg_class AS relation ON relation.relnamespace = space.oid AND relkind IN ('r', 'p', 'v', 'm', 'f')
    JOIN pg_roles AS owner ON owner.oid IN (space.nspowner, relation.relowner)
    WHERE nspname = %s ORDER BY 1
"""
_UNREADABLE: Final = """
    SELECT role.rolname, NOT has_schema_privilege(role.oid, space.oid, 'USAGE'), array(
        SELECT relname FROM pg_class WHERE relnamespace = space.oid AND relkind IN ('r', 'p', 'v', 'm', 'f')
        AND NOT has_table_privilege(role.oid, pg_class.oid, 'SELECT') ORDER BY relname)
    FROM pg_namespace AS space, pg_roles AS role WHERE nspname = %s AND role.rolname = ANY(%s) ORDER BY 1
"""
_SCHEMAS_OF: Final = """
    SELECT nspname FROM pg_class JOIN pg_namespace AS space ON space.oid = relnamespace
    WHERE relname = %s AND relkind IN ('r', 'p', 'v', 'm', 'f') AND NOT has_table_privilege(pg_class.oid, 'SELECT')
    ORDER BY nspname
"""


class Granted(NamedTuple):
    """What was granted or revoked.

    Attributes
    ----------
    roles : tuple of str
        The roles that may read the schema now, or may not any more.
    other_owners : tuple of str
        Owners of tables in the schema for whose future tables this login cannot grant anything.
    """

    roles: tuple[str, ...]
    other_owners: tuple[str, ...]


def grant_schema(url: str, schema: str, roles: Iterable[str] = (), *, revoke: bool = False) -> Granted:
    """Let the roles that read the source read every table of a schema, also those that are made later.

    Parameters
    ----------
    roles : iterable of str
        More roles than `READERS`; those that do not exist are left out.
    revoke : bool
        Take these rights back instead.

    Raises
    ------
    SluiceError
        When the schema does not exist or is Sluice's own, no role needs the right, or the login may not grant it; the
        message then has the statements for its owner.
    """
    if schema in _OWN or schema.startswith("pg_") or (revoke and schema == "source"):
        raise SluiceError(
            f"schema '{schema}': expected a schema with your tables; found one whose rights Sluice's migrations or "
            "PostgreSQL set. Name another."
        )
    with psycopg.connect(libpq_url(url)) as connection:
        connection.execute(SESSION_STATEMENT)
        if connection.execute("SELECT FROM pg_namespace WHERE nspname = %s", [schema]).fetchone() is None:
            raise SluiceError(f"schema '{schema}' does not exist in this database. `\\dn` in `sluice psql` lists all.")
        wanted = [*dict.fromkeys((*READERS, *roles))]
        found = {
            name for (name,) in connection.execute("SELECT rolname FROM pg_roles WHERE rolname = ANY(%s)", [wanted])
        }
        named = [role for role in wanted if role in found]
        if not named:
            raise SluiceError(
                f"schema '{schema}': expected one of the roles {', '.join(wanted)}; found none. Without them every "
                "command reads with the login of SLUICE_DATABASE_URL, and needs no other right."
            )
        owners = connection.execute(_OWNERS, [schema]).fetchall()
        ours = [owner for owner, member in owners if member]
        statements = grant_statements(schema, named, ours, revoke=revoke)
        _run(connection, statements, schema, named, revoke=revoke)
    return Granted(tuple(named), tuple(owner for owner, member in owners if not member))


def grant_statements(
    schema: str, roles: Iterable[str], owners: Iterable[str] = (), *, revoke: bool = False
) -> list[str]:
    """Return the statements that let the roles read a schema, and what `owners` make in it later."""
    verb, to = ("REVOKE", "FROM") if revoke else ("GRANT", "TO")
    parts = {
        "verb": SQL(verb),
        "to": SQL(to),
        "schema": Identifier(schema),
        "roles": SQL(", ").join(Identifier(role) for role in roles),
    }
    texts = [
        "{verb} USAGE ON SCHEMA {schema} {to} {roles}",
        "{verb} SELECT ON ALL TABLES IN SCHEMA {schema} {to} {roles}",
    ]
    statements = [SQL(text).format(**parts) for text in texts]
    statements += [
        SQL("ALTER DEFAULT PRIVILEGES FOR ROLE {owner} IN SCHEMA {schema} {verb} SELECT ON TABLES {to} {roles}").format(
            owner=Identifier(owner), **parts
        )
        for owner in owners
    ]
    return [_text(statement) for statement in statements]


@contextlib.contextmanager
def missing_grants(url: str, what: str) -> Iterator[None]:
    """Say in an error of a read of the source which right is missing, and how it is granted.

    Parameters
    ----------
    url : str
        With which the source is read in the block.
    what : str
        What is read: the subject of the message.

    Raises
    ------
    MissingGrantError
        In place of the error of a role that may not read a schema or a table.
    """
    try:
        yield
    except (QueryError, SourceQueryError, DBAPIError) as error:
        denied = _DENIED.search(str(error))
        if denied is None:
            raise
        kind, name = denied[1], denied[2].strip().split(". Nothing was written")[0].split(". Compare it")[0]
        raise _explained(url, what, kind, name) from error


def _explained(url: str, what: str, kind: str, name: str) -> MissingGrantError:
    with psycopg.connect(libpq_url(url)) as connection:
        ((role,),) = connection.execute("SELECT current_user::text").fetchall()
        schemas = [name] if kind == "schema" else [schema for (schema,) in connection.execute(_SCHEMAS_OF, [name])]
    statements = [text for schema in schemas for text in grant_statements(schema, [role])]
    return MissingGrantError(what, role, f"{kind} {name}", schemas, statements)


def _run(connection: psycopg.Connection, statements: list[str], schema: str, roles: list[str], *, revoke: bool) -> None:
    try:
        for statement in statements:
            connection.execute(statement.encode())
    except psycopg.errors.InsufficientPrivilege as error:
        raise _refused(schema, roles, str(error).splitlines()[0], revoke=revoke) from error
    if revoke:
        return
    # A login that may read a table itself, and may not pass this right on, gets a warning from GRANT and no error.
    for role, closed, tables in connection.execute(_UNREADABLE, [schema, roles]).fetchall():
        if closed or tables:
            what = f"role {role} may still not read {', '.join(tables) or 'the schema'}"
            raise _refused(schema, roles, what, revoke=revoke)


def _refused(schema: str, roles: list[str], found: str, *, revoke: bool) -> SluiceError:
    listed = " ".join(f"{statement};" for statement in grant_statements(schema, roles, revoke=revoke))
    return SluiceError(
        f"schema '{schema}': expected a login that owns the schema and its tables, or may pass on the right to read "
        f"them; found: {found}. Nothing was changed. Let their owner or a superuser run: {listed}"
    )


def _text(statement: Composed) -> str:
    return statement.as_string(None)
