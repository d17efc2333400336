"""The ledger as requests read it: through the door at which nobody waits long."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from include.registry import Ledger
from model_service.door import DatabaseDoor, DoorShutError
from model_service.errors import LedgerUnavailableError

T = TypeVar("T")


class LedgerReads:
    """Asks the ledger on behalf of requests.

    Parameters
    ----------
    ledger : Ledger
    door : DatabaseDoor
    """

    def __init__(self, ledger: Ledger, door: DatabaseDoor) -> None:
        self._ledger = ledger
        self._door = door

    def ask(self, question: Callable[[Ledger], T]) -> T:
        """Return what `question` made of the ledger.

        Raises
        ------
        LedgerUnavailableError
            If the database does not answer, or not in time.
        """
        try:
            return self._door.ask(lambda _: question(self._ledger))
        except DoorShutError as error:
            raise LedgerUnavailableError from error
