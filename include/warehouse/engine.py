"""Connections to the one database, and its schema brought up to date."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Engine, create_engine, make_url, text
from sqlalchemy.exc import ArgumentError, OperationalError

from include.errors import DatabaseError

if TYPE_CHECKING:  # only migrations need Alembic; the service and the workers' hot paths do not
    from alembic.config import Config

MIGRATIONS = Path(__file__).parent / "migrations"
MIGRATION_LOCK = 7_305_318_274


def open_engine(url: str, **options: Any) -> Engine:
    """Return an engine for ``postgresql://...`` with psycopg 3, its sessions in UTC.

    Parameters
    ----------
    url : str
        ``postgresql://user:password@host:port/database``.
    **options
        Passed on to `sqlalchemy.create_engine`.
    """
    try:
        address = make_url(url)
    except (ArgumentError, ValueError) as error:  # an empty port is a ValueError
        raise DatabaseError(
            "SLUICE_DATABASE_URL: expected postgresql://user:password@host:port/database; found something that "
            f"does not read as a URL ({type(error).__name__}; not shown, it may hold a password). Correct the variable."
        ) from None
    if address.get_backend_name() != "postgresql":
        raise DatabaseError(
            f"SLUICE_DATABASE_URL: expected postgresql://user:password@host:port/database; "
            f"found a '{address.get_backend_name()}' URL. PostgreSQL is the one database that Sluice speaks to."
        )
    connect = {"options": "-c timezone=UTC", "application_name": "sluice"} | options.pop("connect_args", {})
    if "options" in address.query:  # what the URL asks for (a role, for one) comes beside ours, not in their place
        connect["options"] = f"{connect['options']} {address.query['options']}"
    return create_engine(
        address.set(drivername="postgresql+psycopg"), pool_pre_ping=True, connect_args=connect, **options
    )


def url_of(engine: Engine) -> str:
    """Return the URL that `open_engine` made `engine` of, with its password."""
    return engine.url.set(drivername="postgresql").render_as_string(hide_password=False)


def under_role(url: str, role: str) -> str:
    """Return the URL with which the same login works under `role`, of which it is a member or stands above all."""
    # Without a space, which is written as a plus here, and read as one by libpq.
    return make_url(url).update_query_dict({"options": f"-crole={role}"}).render_as_string(hide_password=False)


def alembic_config(folder: Path = MIGRATIONS) -> Config:
    """Return what Alembic is told of the migrations in `folder`."""
    from alembic.config import Config

    config = Config(folder / "alembic.ini")
    config.set_main_option("script_location", str(folder).replace("%", "%%"))  # "here" would not be escaped
    return config


def migrate(url: str, folder: Path = MIGRATIONS) -> None:
    """Bring the schema to the newest revision; safe to call from several processes at once.

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
            f"the database at {shown} does not answer: {str(error.orig).strip()}. "
            "Start it, or correct SLUICE_DATABASE_URL; unset, the embedded server is used."
        ) from error
    finally:
        engine.dispose()
