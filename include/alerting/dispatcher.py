"""The dispatcher of alerts: each becomes a line in a file, a row in the database, and messages to people.

The three do not depend on each other: each is tried even if the others failed, and a failure is recorded by the others.
The row is written before the messages are sent. If the sender is killed in between, the alert stays visible as
undelivered.

In ``sluice.alert`` the array `channels` lists the channels of an alert. A plain name was delivered. ``name: reason``
was not, and `delivered` is then false.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import text
from sqlalchemy.engine import Engine

from include.alerting import channels as outside
from include.alerting.formatting import body, shortened, title
from include.records import Alert
from include.settings import Settings

log = logging.getLogger(__name__)

DEFAULT = "default"
"""The channel that gets every alert, when the operator gave it an address."""

PENDING = "not tried yet"
NO_CHANNELS: Mapping[str, Iterable[str]] = {}

_INSERT = text(
    "INSERT INTO sluice.alert "
    "(model, dag_id, task_id, run_id, try_number, error, log_url, raised_at, channels, delivered) "
    "VALUES (:model, :dag_id, :task_id, :run_id, :try_number, :error, :log_url, :at, :channels, :delivered) "
    "RETURNING id"
)
_UPDATE = text("UPDATE sluice.alert SET channels = :channels, delivered = :delivered WHERE id = :id")
_UNDELIVERED = text(
    "SELECT id, model, dag_id, task_id, run_id, try_number, error, log_url, raised_at, channels "
    "FROM sluice.alert WHERE NOT delivered AND raised_at >= :since AND raised_at < :until ORDER BY id"
)
_OF_THE_FAILURE = text(
    "SELECT count(*) FROM sluice.alert WHERE dag_id = :dag_id AND run_id = :run_id "
    "AND (CAST(:task_id AS text) IS NULL OR (task_id = :task_id AND try_number IS NOT DISTINCT FROM :try_number))"
)
_SAME = text("SELECT count(*) FROM sluice.alert WHERE dag_id = :dag_id AND task_id = :task_id AND error = :error")


class AlertDispatcher:
    """Stores and sends alerts.

    Parameters
    ----------
    engine : Engine or None
        The database. None when it cannot be reached.
    settings : Settings
        Its `alert_channels` map a channel's name to an Apprise address.
    log_file : Path
        Receives one JSON line for each alert, and one for each failure to store or send it.
    """

    def __init__(self, engine: Engine | None, settings: Settings, log_file: Path) -> None:
        self._engine, self._settings, self._log_file = engine, settings, log_file

    def raise_alert(self, alert: Alert, channels: Iterable[str] = ()) -> None:
        """Write the alert to the log file and the table; send it to `channels` and the default one. Never raises."""
        names = self._addressed(channels)
        sentence = f"{title(alert)}: {shortened(alert.error)}"
        self._write_line("alert", alert, sentence, text=title(alert), error=shortened(alert.error), channels=names)
        row = self._insert(alert, names)
        failures = self._send(alert, names)
        if names and row is not None:
            self._update(alert, row, names, failures)

    def record(self, alert: Alert) -> None:
        """Write an alert that nobody needs to act on to the log file and the table, and send it to nobody."""
        self._write_line("alert", alert, f"{title(alert)}: {shortened(alert.error)}", text=title(alert), channels=[])
        self._insert(alert, [])

    def raise_alert_once(self, alert: Alert, channels: Iterable[str] = ()) -> None:
        """Raise an alert as `raise_alert` does, unless a task has already raised the same one in whatever run."""
        if not self._found(_SAME, {**alert.model_dump(), "error": shortened(alert.error)}):
            self.raise_alert(alert, channels)

    def already_alerted(self, alert: Alert) -> bool:
        """Return whether an alert of the same task and try is stored, or any of the run if `alert` has no task.

        An alert of an earlier try does not count: the run was cleared, and fails once more. False when the database
        does not answer.
        """
        return self._found(_OF_THE_FAILURE, alert.model_dump())

    def resend(self, since: datetime, until: datetime, channels: Mapping[str, Iterable[str]] = NO_CHANNELS) -> int:
        """Send alerts raised in ``[since, until)`` again to the channels that they did not reach.

        `until` excludes the newest alerts, which may still be being sent. An alert that the online service stored has
        no channels yet: it goes to the default one and to the `channels` of its model. Without any it stays
        undelivered.

        Returns
        -------
        int
            Number of alerts that have now reached all their channels.
        """
        if self._engine is None:
            return 0
        with self._engine.connect() as connection:
            rows = connection.execute(_UNDELIVERED, {"since": since, "until": until}).mappings().all()
        done = 0
        for row in rows:
            alert = Alert(**{name: row[name] for name in Alert.model_fields if name != "at"}, at=row["raised_at"])
            entries = row["channels"]
            if not entries:
                names = self._addressed(channels.get(alert.model or "", ()))
                entries = _entries(names, dict.fromkeys(names, PENDING))
            if not entries:
                continue
            names = [entry.partition(": ")[0] for entry in entries]
            failures = self._send(alert, [entry.partition(": ")[0] for entry in entries if ": " in entry])
            self._update(alert, row["id"], names, failures)
            done += not failures
        return done

    def _found(self, count: Any, values: Mapping[str, Any]) -> bool:
        if self._engine is None:
            return False
        try:
            with self._engine.connect() as connection:
                return bool(connection.execute(count, values).scalar_one())
        except Exception:  # noqa: BLE001 - two alerts are better than none
            return False

    def _addressed(self, channels: Iterable[str]) -> list[str]:
        default = [DEFAULT] if DEFAULT in self._settings.alert_channels else []
        return list(dict.fromkeys([*default, *channels]))

    def _send(self, alert: Alert, names: list[str]) -> dict[str, str]:
        failures: dict[str, str] = {}
        for name in names:
            try:
                why = outside.send(self._settings.alert_channels.get(name), title(alert), body(alert))
            except Exception as error:  # noqa: BLE001 - a broken channel must not hide the alert from the others
                why = f"{type(error).__name__} while sending"  # its text may contain the address, which is secret
            if why is not None:
                failures[name] = why
                sentence = f"the alert did not reach channel '{name}': {why}"
                self._write_line("alert_not_delivered", alert, sentence, channel=name, why=why)
        return failures

    def _insert(self, alert: Alert, names: list[str]) -> int | None:
        values = alert.model_dump() | {
            "error": shortened(alert.error),
            "channels": _entries(names, dict.fromkeys(names, PENDING)),
            "delivered": not names,
        }
        return self._in_database(alert, _INSERT, values)

    def _update(self, alert: Alert, row: int, names: list[str], failures: Mapping[str, str]) -> None:
        self._in_database(alert, _UPDATE, {"id": row, "channels": _entries(names, failures), "delivered": not failures})

    def _in_database(self, alert: Alert, statement: Any, values: Mapping[str, Any]) -> int | None:
        if self._engine is None:
            self._not_stored(alert, "no database")
            return None
        try:
            with self._engine.begin() as connection:
                result = connection.execute(statement, values)
                return int(result.scalar_one()) if result.returns_rows else None
        except Exception as error:  # noqa: BLE001 - a dead database must not keep the alert from the channels
            self._not_stored(alert, f"{type(error).__name__}: {str(error).splitlines()[0]}")
            return None

    def _not_stored(self, alert: Alert, why: str) -> None:
        self._write_line("alert_not_stored", alert, f"the alert could not be stored: {why}", why=why)

    def _write_line(self, event: str, alert: Alert, sentence: str, **more: Any) -> None:
        """Write a sentence for people to the log, and a line of JSON for programs to the file."""
        log.error("%s", sentence)
        line = json.dumps({"event": event, **alert.to_plain(), **more}, ensure_ascii=False)
        try:
            self._log_file.parent.mkdir(parents=True, exist_ok=True)
            # Opened for one write: several processes append to this file, and a short write is atomic.
            with self._log_file.open("a", encoding="utf-8") as file:
                file.write(line + "\n")
        except OSError as error:
            log.error("the alert could not be written to %s: %s", self._log_file, error)  # noqa: TRY400 - no trace needed


def _entries(names: list[str], failures: Mapping[str, str]) -> list[str]:
    return [f"{name}: {failures[name]}" if name in failures else name for name in names]
