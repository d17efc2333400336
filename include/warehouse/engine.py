"""Connections to the database, and the migration of its schema."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Engine, create_engine, make_url, text
from sqlalchemy.exc import ArgumentError, OperationalError

from include.errors import DatabaseError
from include.sessions import prepare_sessions, session_options

if TYPE_CHECKING:  # only migrations need Alembic; the service and the tasks do not
    from alembic.config import Config

MIGRATIONS = Path(__file__).parent / "migrations"
MIGRATION_LOCK = 7_305_318_274


def open_engine(url: str, **options: Any) -> Engine:
    """Return an engine for ``postgresql://...`` with psycopg 3; its sessions are set as `include.sessions` says.

    Parameters
    ----------
    url : str
        ``postgresql://user:password@host:port/database``.
    **options
        Arguments of `sqlalchemy.create_engine`.
    """
    try:
        address = make_url(url)
    except (ArgumentError, ValueError) as error:  # an empty port is a ValueError
        raise DatabaseError(
            "SLUICE_DATABASE_URL: expected postgresql://user:password@host:port/database; found "
            f"something else ({type(error).__name__}; not shown, it may contain a password). Correct the variable."
        ) from None
    if address.get_backend_name() != "postgresql":
        raise DatabaseError(
            f"SLUICE_DATABASE_URL: expected postgresql://user:password@host:port/database; "
            f"found a '{address.get_backend_name()}' URL. Sluice supports only PostgreSQL."
        )
    connect = {"application_name": "sluice"} | options.pop("connect_args", {})
    connect["options"] = session_options(address, connect.get("options", ""))
    engine = create_engine(
        address.set(drivername="postgresql+psycopg"), pool_pre_ping=True, connect_args=connect, **options
    )
    return prepare_sessions(engine)


def url_of(engine: Engine) -> str:
    """Return the URL of an engine of `open_engine`, with its password."""
    return engine.url.set(drivername="postgresql").render_as_string(hide_password=False)


def under_role(url: str, role: str) -> str:
    """Return the URL with which the same login works as `role`. The login must be a member of it, or a superuser."""
    # Without a space: it would be written as a plus here, and libpq would read a plus.
    return make_url(url).update_query_dict({"options": f"-crole={role}"}).render_as_string(hide_password=False)


def limited(url: str, seconds: float) -> str:
    """Return the URL with which a session only reads, and each of its statements may take so many seconds."""
    options = (
        "-cdefault_transaction_read_only=on",
        f"-cstatement_timeout={int(seconds * 1000)}",
    )  # no spaces, as above
    for option in options:
        url = make_url(url).update_query_dict({"options": option}, append=True).render_as_string(hide_password=False)
    return url


def alembic_config(folder: Path = MIGRATIONS) -> Config:
    """Return Alembic's configuration for the migrations in `folder`."""
    from alembic.config import Config

    config = Config(folder / "alembic.ini")
    config.set_main_option("script_location", str(folder).replace("%", "%%"))  # "here" would not be escaped
    return config


def migrate(url: str, folder: Path = MIGRATIONS) -> None:
    """Migrate the schema to the newest revision; safe to call from several processes at once.

    Parameters
    ----------
    url : str
        ``postgresql://user:password@host:port/database``.
    folder : Path
        The migrations.

    Raises
    ------
    DatabaseError
        When the server cannot be reached.
    """
    from alembic import command

    engine = open_engine(url)
    config = alembic_config(folder)
    try:
        with engine.begin() as connection:
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    except OperationalError as error:
        shown = make_url(url).render_as_string(hide_password=True)
        raise DatabaseError(
            f"the database at {shown} does not answer: {str(error.orig).splitlines()[0].rstrip('.')}. "
            "Start it, or correct SLUICE_DATABASE_URL. Without this variable the embedded server is used."
        ) from error
    finally:
        engine.dispose()
