"""Writes a sample of the predictions and alerts about failed loads to PostgreSQL. No request waits for it."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import msgspec
from sqlalchemy import Engine, text
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, OperationalError, SQLAlchemyError

from include.telemetry import FaultLog
from model_service.http.request_context import RequestContext

log = logging.getLogger(__name__)

MAX_QUEUED: Final = 5_000
MAX_ALERTS: Final = 100
MAX_ROWS_PER_REQUEST: Final = 100
BATCH_ROWS: Final = 1_000
_TOO_LARGE: Final = "54"  # SQLSTATE class "program limit exceeded": a document too large for jsonb
_ALERT: Final = text("SELECT sluice.raise_service_alert(:model, :what, :why)")
_ADD: Final = text("SELECT sluice.log_predictions(CAST(:entries AS jsonb), CAST(:keep AS interval))")


class PredictionLogEntry(msgspec.Struct):
    """One predicted row."""

    predicted_at: datetime
    model: str
    version: int
    request_id: str
    position: int
    inputs: Any
    outputs: Any


class PredictionLog:
    """Queues sampled predictions and writes them on `flush`.

    While the database is unavailable, rows remain queued. A row that it can never store is dropped alone: strings of a
    request may contain U+0000 or an unpaired surrogate, ``jsonb`` may not.

    Parameters
    ----------
    engine : sqlalchemy.Engine or None
        With permission to call ``sluice.log_predictions``; None: everything is dropped.
    max_queued : int
        Maximum number of queued rows; further ones are dropped and counted.
    days : int
        Retention of rows; the database removes older ones when new ones are written.
    """

    def __init__(self, engine: Engine | None, max_queued: int = MAX_QUEUED, days: int = 30) -> None:
        self._engine = engine
        self._keep = f"{days} days"
        self._max_queued = max_queued
        self._queue: deque[PredictionLogEntry] = deque()
        self._alerts: deque[_Alert] = deque(maxlen=MAX_ALERTS)
        self._alerts_lock = threading.Lock()
        self._encode = msgspec.json.Encoder().encode
        self._faults = {
            what: FaultLog(log, f"writing {what} is delayed, the database does not respond")
            for what in ("alerts", "predictions")
        }
        self.dropped = 0
        self.written = 0

    def add(self, context: RequestContext) -> None:
        """Queue the rows of a sampled request, at most `MAX_ROWS_PER_REQUEST`."""
        if context.inputs is None or context.outputs is None:
            return
        now = datetime.now(UTC)
        rows = list(zip(context.inputs, context.outputs, strict=False))
        taken = rows[:MAX_ROWS_PER_REQUEST]
        if self._engine is None or len(self._queue) + len(taken) > self._max_queued:
            self.dropped += len(taken)
            return
        for position, (inputs, outputs) in enumerate(taken):
            self._queue.append(
                PredictionLogEntry(now, context.model, context.version, context.request_id, position, inputs, outputs)
            )

    def alert(self, model: str, what: str, why: str) -> None:
        """Queue an alert, which operators get by their usual channels; if the queue is full, the oldest is dropped."""
        with self._alerts_lock:
            self._alerts.append(_Alert(*map(_storable, (model, what, why))))

    def flush(self) -> None:
        """Write the queued rows and alerts; they remain queued while the database is unavailable."""
        if self._engine is None:
            return
        for what, write in (("alerts", self._write_alerts), ("predictions", self._write_rows)):
            try:
                write(self._engine)
            except SQLAlchemyError as error:
                self._faults[what].failed(str(error).splitlines()[0])
                if isinstance(error, OperationalError):  # unavailable: another attempt would wait again
                    return
            else:
                self._faults[what].worked()

    def _write_alerts(self, engine: Engine) -> None:
        while self._alerts:
            alert = self._alerts[0]
            try:
                with engine.begin() as connection:  # a transaction of its own, which later errors do not roll back
                    connection.execute(_ALERT, alert._asdict())
            except DBAPIError as error:
                if not _refuses_the_data(error):
                    raise
                log.error("the database rejects an alert, so it is only logged here: %s", alert)  # noqa: TRY400  # no traceback
            with self._alerts_lock:
                if self._alerts and self._alerts[0] is alert:  # unless newer alerts displaced it meanwhile
                    self._alerts.popleft()

    def _write_rows(self, engine: Engine) -> None:
        left = size = min(len(self._queue), BATCH_ROWS)
        while left:
            size = min(size, left)
            written = self._add(engine, [self._queue[each] for each in range(size)])
            if written is None and size > 1:
                size //= 2  # to find the rejected row and write the others
                continue
            for _ in range(size):  # now, so that nothing is written again if the next batch fails
                self._queue.popleft()
            self.written += written or 0
            self.dropped += size - (written or 0)
            left -= size
            size *= 2

    def _add(self, engine: Engine, batch: Sequence[PredictionLogEntry]) -> int | None:
        """Write the rows of `batch` that can be encoded and return their number; None if the database rejects them."""
        rows = [row for entry in batch if (row := self._encoded(entry)) is not None]
        if not rows:
            return 0
        try:
            with engine.begin() as connection:
                connection.execute(_ADD, {"entries": f"[{','.join(rows)}]", "keep": self._keep})
        except DBAPIError as error:
            if not _refuses_the_data(error):
                raise
            log.debug("the database cannot store one of %d sampled rows: %s", len(batch), error)
            return None
        return len(rows)

    def _encoded(self, entry: PredictionLogEntry) -> str | None:
        try:
            return self._encode(entry).decode()
        except Exception as error:  # noqa: BLE001  # such as an unpaired surrogate: a retry would fail too
            log.debug("a sampled row cannot be encoded as JSON: %s", error)
            return None


class _Alert(NamedTuple):
    model: str
    what: str
    why: str


def _storable(message: str) -> str:
    """Return `message` without characters that PostgreSQL cannot store, which a file name in it may contain."""
    return message.encode("utf-8", "replace").decode().replace("\0", "?")


def _refuses_the_data(error: DBAPIError) -> bool:
    """Return whether the data, and not the state of the database, is the reason: a retry would fail too."""
    if isinstance(error, DataError | IntegrityError):
        return True
    return str(getattr(error.orig, "sqlstate", None) or "").startswith(_TOO_LARGE)
