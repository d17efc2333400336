"""Errors of the database: which of them a retry can mend."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

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


class MissingGrantError(QueryError):
    """A role may not read a schema or a table of the source.

    Parameters
    ----------
    statements : sequence of str
        What grants the right, without semicolons.
    """

    def __init__(self, what: str, role: str, denied: str, schemas: Sequence[str], statements: Sequence[str]) -> None:
        command = " or ".join(f"`sluice grant {shlex.quote(schema)}`" for schema in schemas)
        listed = " ".join(f"{statement};" for statement in statements)
        advice = (
            f"Run {command}, or in psql as the owner: {listed}" if schemas else "Grant the role the right to read it."
        )
        super().__init__(
            f"{what}: expected that role {role} may read the source; found: permission denied for {denied}. Nothing "
            f"was written. {advice}"
        )
        self.role, self.denied = role, denied
        self.schemas, self.statements = tuple(schemas), tuple(statements)


def is_transient(sqlstate: str | None) -> bool:
    """Return whether a retry may succeed after an error with this SQLSTATE; without one, the connection was lost."""
    return not sqlstate or sqlstate[:2] in _TRANSIENT_CLASSES or sqlstate in _TRANSIENT_CODES
