"""A sample of predictions goes to PostgreSQL; refused artifacts raise an alert there. No request waits for either."""

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

from model_service.http.request_context import RequestContext

log = logging.getLogger(__name__)

MOST_WAITING: Final = 5_000
MOST_ALERTS: Final = 100
MOST_ROWS_OF_A_REQUEST: Final = 100
AT_ONCE: Final = 1_000
_TOO_LARGE: Final = "54"  # SQLSTATE's class "program limit exceeded": a document larger than jsonb takes
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
    """Takes sampled predictions at once and writes them when it is told.

    What the database cannot take now waits for it. A row that it never will is dropped alone: U+0000 and half of a
    surrogate pair may stand in a request's strings, but in no ``jsonb``.

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
        self._waiting: deque[PredictionLogEntry] = deque()
        self._alerts: deque[_Alert] = deque(maxlen=MOST_ALERTS)
        self._alerting = threading.Lock()
        self._encode = msgspec.json.Encoder().encode
        self.dropped = 0
        self.written = 0

    def add(self, context: RequestContext) -> None:
        """Take the rows of a context that was sampled, up to `MOST_ROWS_OF_A_REQUEST` of them."""
        if context.inputs is None or context.outputs is None:
            return
        now = datetime.now(UTC)
        rows = list(zip(context.inputs, context.outputs, strict=False))
        taken = rows[:MOST_ROWS_OF_A_REQUEST]
        if self._engine is None or len(self._waiting) + len(taken) > self._most:
            self.dropped += len(taken)
            return
        for position, (inputs, outputs) in enumerate(taken):
            self._waiting.append(
                PredictionLogEntry(now, context.model, context.version, context.request_id, position, inputs, outputs)
            )

    def alert(self, model: str, what: str, why: str) -> None:
        """Raise an alert, which operators get by the usual channels; of too many that wait the oldest goes."""
        with self._alerting:
            self._alerts.append(_Alert(*map(_storable, (model, what, why))))

    def flush(self) -> None:
        """Write what waits; with the database away it goes on waiting, and what is too much is dropped."""
        if self._engine is None:
            return
        for what, write in (("alerts", self._write_alerts), ("predictions", self._write_rows)):
            try:
                write(self._engine)
            except SQLAlchemyError as error:
                log.warning("%s wait for the database: %s", what, str(error).splitlines()[0])
                if isinstance(error, OperationalError):  # it is away, so that to ask once more is to wait once more
                    return

    def _write_alerts(self, engine: Engine) -> None:
        while self._alerts:
            alert = self._alerts[0]
            try:
                with engine.begin() as connection:  # of its own: nothing that follows takes it back
                    connection.execute(_ALERT, alert._asdict())
            except DBAPIError as error:
                if not _refuses_the_data(error):
                    raise
                log.error("the database refuses an alert, so it stands only here: %s", alert)  # noqa: TRY400  # no trace
            with self._alerting:
                if self._alerts and self._alerts[0] is alert:  # or newer ones pushed it out meanwhile
                    self._alerts.popleft()

    def _write_rows(self, engine: Engine) -> None:
        left = size = min(len(self._waiting), AT_ONCE)
        while left:
            size = min(size, left)
            written = self._add(engine, [self._waiting[each] for each in range(size)])
            if written is None and size > 1:
                size //= 2  # in search of the row at fault: the others are to get through
                continue
            for _ in range(size):  # at once, so that nothing is written twice if the database goes away at the next
                self._waiting.popleft()
            self.written += written or 0
            self.dropped += size - (written or 0)
            left -= size
            size *= 2

    def _add(self, engine: Engine, batch: Sequence[PredictionLogEntry]) -> int | None:
        """Write what of `batch` can be encoded, and return how much that was; None if the database refuses it."""
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
        except Exception as error:  # noqa: BLE001  # half of a surrogate pair, or whatever: it would never be otherwise
            log.debug("a sampled row is not to be had as JSON: %s", error)
            return None


class _Alert(NamedTuple):
    model: str
    what: str
    why: str


def _storable(words: str) -> str:
    """Return `words` without what PostgreSQL cannot store: an error may quote a file that somebody named oddly."""
    return words.encode("utf-8", "replace").decode().replace("\0", "?")


def _refuses_the_data(error: DBAPIError) -> bool:
    """Tell whether the same statement would be refused for ever, and not for what the database is now."""
    if isinstance(error, DataError | IntegrityError):
        return True
    return str(getattr(error.orig, "sqlstate", None) or "").startswith(_TOO_LARGE)
