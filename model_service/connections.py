"""The service's connections to the database: few, short of patience, and reading only unless they must write."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import Engine

from include.warehouse import open_engine

READING: Final = "-c default_transaction_read_only=on"

# A peer that is gone without a word is noticed within seconds, not after TCP's own quarter of an hour.
_GONE: Final = {"tcp_user_timeout": 2000, "keepalives_idle": 5, "keepalives_interval": 2, "keepalives_count": 2}


def open_reader(url: str) -> Engine:
    """Return a small pool for reading the ledger."""
    return open_engine(
        url, pool_size=2, max_overflow=2, pool_timeout=2, connect_args=_session(f"{READING} -c statement_timeout=2000")
    )


def open_scores(url: str, seconds: float) -> Engine:
    """Return a pool for looking scores up; a statement is stopped after `seconds`.

    No transaction is opened around a statement: it would cost two round trips more.
    """
    options = f"{READING} -c statement_timeout={max(1, round(seconds * 1000))}"
    return open_engine(
        url, pool_size=4, max_overflow=0, pool_timeout=1, isolation_level="AUTOCOMMIT", connect_args=_session(options)
    )


def open_jobs(url: str) -> Engine:
    """Return a pool that may write: for jobs, whose rows are larger than what else is asked for."""
    return open_engine(
        url, pool_size=5, max_overflow=0, pool_timeout=1, connect_args=_session("-c statement_timeout=2000")
    )


def open_notes(url: str) -> Engine:
    """Return one connection for what the service notes: sampled predictions and alerts."""
    return open_engine(url, pool_size=1, max_overflow=0, connect_args=_session("-c statement_timeout=5000"))


def _session(options: str) -> dict[str, Any]:
    return {
        "options": f"-c timezone=UTC {options}",
        "connect_timeout": 2,
        "application_name": "sluice service",
        **_GONE,
    }
