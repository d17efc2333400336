"""A sample of predictions goes to PostgreSQL; refused artifacts raise an alert there. No request waits for either."""

from __future__ import annotations

import logging
from collections import deque
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from sqlalchemy import Engine, text
from sqlalchemy.exc import SQLAlchemyError

from model_service.visit import Visit

log = logging.getLogger(__name__)

MOST_WAITING: Final = 5_000
MOST_ROWS_OF_A_REQUEST: Final = 100
AT_ONCE: Final = 1_000
_ADD: Final = text("SELECT sluice.log_predictions(CAST(:entries AS jsonb), CAST(:keep AS interval))")


class Entry(msgspec.Struct):
    """One predicted row."""

    at: datetime
    model: str
    version: int
    request_id: str
    position: int
    inputs: Any
    outputs: Any


class PredictionLog:
    """Takes sampled predictions at once and writes them when it is told.

    Parameters
    ----------
    engine : sqlalchemy.Engine or None
        A connection that may call ``sluice.log_predictions``; None: everything is dropped.
    most : int
        Rows that may wait; more are dropped and counted.
    days : int
        How long rows are kept; the database removes older ones as new ones come.
    """

    def __init__(self, engine: Engine | None, most: int = MOST_WAITING, days: int = 30) -> None:
        self._engine = engine
        self._keep = f"{days} days"
        self._most = most
        self._waiting: deque[Entry] = deque()
        self._alerts: deque[tuple[str, str, str]] = deque(maxlen=100)
        self._encode = msgspec.json.Encoder().encode
        self.dropped = 0
        self.written = 0

    def add(self, visit: Visit) -> None:
        """Take the rows of a visit that was sampled, up to `MOST_ROWS_OF_A_REQUEST` of them."""
        if visit.inputs is None or visit.outputs is None:
            return
        now = datetime.now(UTC)
        rows = list(zip(visit.inputs, visit.outputs, strict=False))
        taken = rows[:MOST_ROWS_OF_A_REQUEST]
        if self._engine is None or len(self._waiting) + len(taken) > self._most:
            self.dropped += len(taken)
            return
        for position, (inputs, outputs) in enumerate(taken):
            self._waiting.append(Entry(now, visit.model, visit.version, visit.request_id, position, inputs, outputs))

    def alert(self, model: str, what: str, why: str) -> None:
        """Raise an alert, which operators get by the usual channels."""
        self._alerts.append((model, what, why))

    def flush(self) -> None:
        """Write what waits; with the database away it goes on waiting, and what is too much is dropped."""
        if self._engine is None or not (self._waiting or self._alerts):
            return
        try:
            with self._engine.begin() as connection:
                for alert in list(self._alerts):
                    statement = text("SELECT sluice.raise_service_alert(:model, :what, :why)")
                    connection.execute(statement, dict(zip(("model", "what", "why"), alert, strict=True)))
                batch = [self._waiting[each] for each in range(min(len(self._waiting), AT_ONCE))]
                if batch:
                    entries = self._encode(batch).decode()
                    connection.execute(_ADD, {"entries": entries, "keep": self._keep})
        except SQLAlchemyError as error:
            log.warning("predictions and alerts wait for the database: %s", str(error).splitlines()[0])
            return
        self._alerts.clear()
        self.written += len(batch)
        for _ in batch:
            self._waiting.popleft()
