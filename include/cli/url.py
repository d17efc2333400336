"""``sluice url``: the connection string of the database, for pandas, DBeaver and other programs."""

from __future__ import annotations

import sys
from argparse import Namespace
from typing import Final
from urllib.parse import urlencode

from sqlalchemy import URL, make_url

from include.models import DeclaredModels
from include.resources import Resources
from include.warehouse.embedded import is_embedded_running

FORMATS: Final = ("libpq", "sqlalchemy", "jdbc")


def url(arguments: Namespace, _models: DeclaredModels, resources: Resources) -> int:
    """Print the connection string on standard output, and notes on it on standard error."""
    address = make_url(resources.database_url)
    sys.stdout.write(connection_string(address, arguments.format, password=arguments.password) + "\n")
    if address.password and not arguments.password:
        _note("the password is left out; --password prints it, too. Or set PGPASSWORD.")
    if arguments.format == "jdbc" and not arguments.password and address.username:
        _note(f"the user is '{address.username}'.")
    if resources.settings.database_url is None and not is_embedded_running(resources.settings.home):
        _note(
            "this is the embedded server, which runs only while Sluice does: keep `make run` or `sluice serve` running "
            "meanwhile."
        )
    return 0


def connection_string(address: URL, form: str, *, password: bool) -> str:
    """Return the URL of a database as a program expects it.

    Parameters
    ----------
    address : sqlalchemy.URL
    form : {"libpq", "sqlalchemy", "jdbc"}
        For psql and most programs; for SQLAlchemy and pandas, with the driver that Sluice uses; for DBeaver.
    password : bool
        Whether the password is part of it.
    """
    if form == "jdbc":
        credentials = {"user": address.username, "password": address.password} if password else {}
        query = {key: value for key, value in {**credentials, **address.query}.items() if value is not None}
        host = f"[{address.host}]" if address.host and ":" in address.host else address.host or "localhost"
        options = f"?{urlencode(query, doseq=True)}" if query else ""
        return f"jdbc:postgresql://{host}:{address.port or 5432}/{address.database or ''}{options}"
    named = address.set(drivername="postgresql+psycopg" if form == "sqlalchemy" else "postgresql")
    if not password:
        named = URL.create(named.drivername, named.username, None, named.host, named.port, named.database, named.query)
    return named.render_as_string(hide_password=False).replace(" ", "%20")  # which SQLAlchemy leaves as it is


def _note(text: str) -> None:
    sys.stderr.write(f"sluice url: {text}\n")
