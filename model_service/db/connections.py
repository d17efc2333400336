"""The service's connections to the database: few, with short timeouts, and read-only unless they must write."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import Engine, event

from include.warehouse import open_engine

READING: Final = "-c default_transaction_read_only=on"

# A peer that is gone without notice is detected within seconds, not after the quarter of an hour of TCP.
_TCP: Final = {"tcp_user_timeout": 2000, "keepalives_idle": 5, "keepalives_interval": 2, "keepalives_count": 2}


def open_reader(url: str) -> Engine:
    """Return a small pool for reading the ledger."""
    return _as_reader(
        open_engine(
            url,
            pool_size=2,
            max_overflow=2,
            pool_timeout=2,
            connect_args=_session(f"{READING} -c statement_timeout=2000"),
        )
    )


def open_scores(url: str, seconds: float) -> Engine:
    """Return a pool for score look-ups; a statement is cancelled after `seconds`.

    Statements run without a transaction, which would cost two more round trips.
    """
    options = f"{READING} -c statement_timeout={max(1, round(seconds * 1000))}"
    return _as_reader(
        open_engine(
            url,
            pool_size=4,
            max_overflow=0,
            pool_timeout=1,
            isolation_level="AUTOCOMMIT",
            connect_args=_session(options),
        )
    )


def open_jobs(url: str, seconds: float) -> Engine:
    """Return a pool that may write, for jobs; a statement is cancelled after `seconds`.

    Submissions wait for each other's short lock. A process that is stopped while it holds the lock loses it.
    """
    milliseconds = round(seconds * 1000)
    options = (
        f"-c statement_timeout={milliseconds} -c lock_timeout={max(1, milliseconds // 2)}"
        f" -c idle_in_transaction_session_timeout={2 * milliseconds}"
    )
    return open_engine(url, pool_size=5, max_overflow=0, pool_timeout=1, connect_args=_session(options))


def open_log_writer(url: str) -> Engine:
    """Return one connection for writing sampled predictions and alerts."""
    return open_engine(url, pool_size=1, max_overflow=0, connect_args=_session("-c statement_timeout=5000"))


# A superuser that only reads takes a role with fewer rights. Any other role was granted its rights on purpose.
_DROP_RIGHTS: Final = """
    SELECT set_config('role', rolname, false) FROM pg_roles
    WHERE rolname = 'sluice_reader' AND current_setting('is_superuser') = 'on' AND EXISTS (
        SELECT FROM pg_namespace
        WHERE nspname = 'sluice' AND has_schema_privilege(pg_roles.oid, pg_namespace.oid, 'USAGE')
    )
"""


def _as_reader(engine: Engine) -> Engine:
    """Make sessions of a superuser, such as the embedded server's, take the read-only role."""

    @event.listens_for(engine, "connect")
    def take_role(connection: Any, _: object) -> None:
        before, connection.autocommit = connection.autocommit, True  # the end of a transaction would reset the role
        connection.execute(_DROP_RIGHTS)
        connection.autocommit = before

    return engine


def _session(options: str) -> dict[str, Any]:
    return {
        "options": options,
        "connect_timeout": 2,
        "application_name": "sluice service",
        **_TCP,
    }
