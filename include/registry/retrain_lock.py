"""One retrain of a model at a time, whoever starts it: the command line or a task of Airflow."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from include.errors import RetrainRunningError

# A host that dies sends no end of its connections: without these, the server would keep the lock for hours.
_TRY: Final = text("""
    SELECT pg_try_advisory_xact_lock(hashtextextended('sluice.retrain.' || :model, 0)),
           set_config('tcp_keepalives_idle', '30', true), set_config('tcp_keepalives_interval', '10', true),
           set_config('tcp_keepalives_count', '3', true)
""")
_SECONDS_BETWEEN_TRIES: Final = 1.0


@contextmanager
def retrain_lock(engine: Engine, model: str, wait: float = 0) -> Iterator[None]:
    """Let nobody else retrain the model in the block.

    The lock belongs to a transaction of its own connection, which reads and writes nothing: it ends with the process,
    however that ends. If the connection is lost, the work goes on, and the registration still sees to it that an origin
    makes one version.

    Parameters
    ----------
    wait : float
        Seconds to wait for another retrain.

    Raises
    ------
    RetrainRunningError
        When another retrain of the model is under way.
    """
    until = time.monotonic() + wait
    with engine.connect() as connection:
        connection.detach()  # it is closed in the end: a pool that keeps it would have one more than its work needs
        while not connection.execute(_TRY, {"model": model}).scalar_one():
            connection.rollback()
            if time.monotonic() >= until:
                raise RetrainRunningError(model, wait)
            time.sleep(_SECONDS_BETWEEN_TRIES)
        try:
            yield
        finally:
            with suppress(DBAPIError):  # the connection was lost, and the lock with it
                connection.rollback()
