"""What every session with the database relies on, whatever the database, the role or the environment of libpq sets.

Whoever connects (SQLAlchemy, ADBC, Great Expectations) takes the settings from here. An operator may have good reasons
for ``ALTER DATABASE ... SET datestyle = 'German'``; the rows that are read, and the bytes of a score, must not depend
on it.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Any, Final
from urllib.parse import quote, urlencode

from sqlalchemy import URL, Engine, event, make_url

PREFERRED: Final = MappingProxyType(
    {
        # One schema for all roles: "$user" would give the trainer's session other tables than the scorer's.
        "search_path": "public",
        "statement_timeout": "0",
        "lock_timeout": "0",
        "idle_in_transaction_session_timeout": "0",
        "idle_session_timeout": "0",
        "default_transaction_read_only": "off",
    }
)
"""Settings that the options of a database URL, or of a caller, may replace."""

REQUIRED: Final = MappingProxyType(
    {
        "timezone": "UTC",
        "datestyle": "ISO,MDY",
        "intervalstyle": "postgres",
        "client_encoding": "UTF8",
        "standard_conforming_strings": "on",  # `include.spec.features_query` reads strings so
        "default_transaction_isolation": "read committed",
        "default_transaction_deferrable": "off",
        "row_security": "on",
        "extra_float_digits": "1",
        "bytea_output": "hex",
        "xmlbinary": "base64",
        "array_nulls": "on",
        "transform_null_equals": "off",
        "quote_all_identifiers": "off",
        "lc_monetary": "C",
        "lc_numeric": "C",
        "lc_time": "C",
    }
)
"""Settings that nothing replaces."""

# PGTZ, PGDATESTYLE and PGCLIENTENCODING, which libpq reads from the environment, replace a connection's options.
# `transaction_timeout` exists since PostgreSQL 17: an older server would refuse a connection with this option.
SESSION_STATEMENT: Final = (
    "SELECT set_config('timezone', 'UTC', false), set_config('datestyle', 'ISO,MDY', false), "
    "set_config('client_encoding', 'UTF8', false), "
    "(SELECT set_config('transaction_timeout', '0', false)"
    " WHERE current_setting('transaction_timeout', true) IS NOT NULL)"
)
_SINCE_17: Final = MappingProxyType({"transaction_timeout": "0"})


def session_options(url: URL, own: str = "", *, server: int = 0) -> str:
    """Return libpq's ``options`` of a session.

    Parameters
    ----------
    url : sqlalchemy.URL
        Its own options, such as a role, are kept.
    own : str
        Options of the caller, such as ``-c statement_timeout=2000``.
    server : int
        The major version of the server, where it is known: it decides which settings exist.
    """
    given = url.query.get("options", "")
    theirs = given if isinstance(given, str) else " ".join(given)
    newer = _options(_SINCE_17) if server >= 17 else ""
    return " ".join(each for each in (_options(PREFERRED), newer, theirs, own, _options(REQUIRED)) if each)


def _options(settings: MappingProxyType[str, str]) -> str:
    return " ".join(f"-c {name}={value.replace(' ', chr(92) + ' ')}" for name, value in settings.items())


def prepare_sessions(engine: Engine) -> Engine:
    """Make every new session of `engine` run `SESSION_STATEMENT`, and return the engine."""

    @event.listens_for(engine, "connect", insert=True)  # before SQLAlchemy's own first statements
    def prepare(connection: Any, _: object) -> None:
        before, connection.autocommit = connection.autocommit, True  # the end of a transaction would undo a setting
        connection.execute(SESSION_STATEMENT)
        connection.autocommit = before

    return engine


def libpq_url(url: str) -> str:
    """Return `url` with the session's options in it, for a driver that takes nothing else."""
    address = make_url(url)
    query = {name: value for name, value in address.query.items() if name != "options"}
    # Not SQLAlchemy's own text: it writes a space as a plus, and libpq reads a plus as one.
    tail = urlencode({**query, "options": session_options(address)}, doseq=True, quote_via=quote)
    return f"{address.set(query={}).render_as_string(hide_password=False)}?{tail}"
