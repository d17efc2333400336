"""Errors of the database: which of them a retry can mend."""

from __future__ import annotations

from include.errors.base import SluiceError

# By SQLSTATE (https://www.postgresql.org/docs/current/errcodes-appendix.html). Classes: 08 connection, 40 serialization
# failure or deadlock, 53 insufficient resources, 57 operator intervention (cancelled, shut down, cannot connect now),
# 58 a fault of the system. A lock that another session holds (55P03) is free later.
_TRANSIENT_CLASSES = frozenset({"08", "40", "53", "57", "58"})
_TRANSIENT_CODES = frozenset({"55P03"})


class DatabaseError(SluiceError):
    """The database cannot be started or reached, or failed."""

    retryable = True


class QueryError(DatabaseError):
    """The database refuses a query: a column is missing, a type is wrong, a number is divided by zero."""

    retryable = False


def is_transient(sqlstate: str | None) -> bool:
    """Return whether a retry may succeed after an error with this SQLSTATE; without one, the connection was lost."""
    return not sqlstate or sqlstate[:2] in _TRANSIENT_CLASSES or sqlstate in _TRANSIENT_CODES
