"""The ledger as requests read it: through the executor at which nobody waits long."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from include.registry import Ledger
from model_service.db.executor import DatabaseUnavailableError, QueryExecutor
from model_service.http.errors import LedgerUnavailableError

T = TypeVar("T")


class LedgerReads:
    """Asks the ledger on behalf of requests.

    Parameters
    ----------
    ledger : Ledger
    executor : QueryExecutor
    """

    def __init__(self, ledger: Ledger, executor: QueryExecutor) -> None:
        self._ledger = ledger
        self._executor = executor

    def ask(self, query: Callable[[Ledger], T]) -> T:
        """Return what `query` made of the ledger.

        Raises
        ------
        LedgerUnavailableError
            If the database does not answer, or not in time.
        """
        try:
            return self._executor.run(lambda _: query(self._ledger))
        except DatabaseUnavailableError as error:
            raise LedgerUnavailableError from error
