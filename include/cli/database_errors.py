"""Errors of the database driver in a command, as one sentence: what was tried, what PostgreSQL said, what to do."""

from __future__ import annotations

from typing import Final

import psycopg
from sqlalchemy import make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from include.errors import DatabaseError, QueryError, SluiceError, is_transient

DRIVER_ERRORS: Final = (DBAPIError, PoolTimeoutError, psycopg.Error)

# By SQLSTATE: an object that migrations create is missing, or the role may not use it.
_NOT_MIGRATED: Final = frozenset({"3F000", "42P01", "42703", "42883", "42704"})
_NOT_ALLOWED: Final = frozenset({"42501", "25006"})


def translated(error: Exception, url: str | None) -> SluiceError | None:
    """Return what to tell the user about an error of `DRIVER_ERRORS`; None if it is a fault of Sluice itself.

    Parameters
    ----------
    error : Exception
    url : str or None
        The database URL of the command; None: the embedded server.
    """
    cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    found = _in_one_line(cause)
    where = shown(url)
    state = getattr(cause, "sqlstate", None)
    if state in _NOT_MIGRATED:
        return QueryError(
            f"the database at {where}: expected the schemas of this version of Sluice; found: {found}. "
            "Run `sluice migrate`."
        )
    if state in _NOT_ALLOWED:
        return QueryError(
            f"the database at {where}: expected a role that may do this; found: {found}. "
            "Grant the role what docs/reference/database.md lists, or use another role in SLUICE_DATABASE_URL."
        )
    if not is_transient(state):
        return None
    return DatabaseError(
        f"the database at {where}: expected an answer; found: {found}. "
        "Start the server, or correct the host, port, user, password and database in SLUICE_DATABASE_URL. "
        "Without this variable the embedded server is used."
    )


def shown(url: str | None) -> str:
    """Return the URL without its password."""
    return "SLUICE_HOME (the embedded server)" if url is None else make_url(url).render_as_string(hide_password=True)


def _in_one_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if not line.startswith("\t")]  # a tab begins a hint
    return " ".join(line for line in lines if line).rstrip(".") or type(error).__name__
