"""The dispatcher of alerts: each becomes a line in a file, a row in the database, and part of an incident.

Messages to people follow from incidents, and are delivered until their channels accept them. The file, the database and
the messages do not depend on each other. While the database cannot be reached, an alert is kept in a file of the spool,
and the channels are told directly; it is carried over when the database is there again.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, text
from sqlalchemy.engine import Engine
from sqlalchemy.exc import DBAPIError, OperationalError

from include.alerting import formatting, incidents, outbox
from include.alerting.channels import send
from include.alerting.spool import Spool, SpooledAlert
from include.records import Alert, AlertMessage, Incident, Problem
from include.settings import Settings

log = logging.getLogger(__name__)

SPOOL: Final = Path("alerts", "spool")
"""Folder of the alerts that wait for the database, under ``SLUICE_HOME``."""
_NO_CHANNELS: Final[Mapping[str, Iterable[str]]] = {}

_INSERT = text(
    "INSERT INTO sluice.alert (model, dag_id, task_id, run_id, try_number, error, log_url, raised_at, kind, subject, "
    "needs_nobody, incident_id, spool_id) VALUES (:model, :dag_id, :task_id, :run_id, :try_number, :error, :log_url, "
    ":at, :kind, :subject, :needs_nobody, :incident_id, :spool_id)"
)
_KNOWN_SPOOLED = text("SELECT count(*) FROM sluice.alert WHERE spool_id = :id")
_WITHOUT_INCIDENT = text(
    "SELECT id, model, dag_id, task_id, run_id, try_number, error, log_url, raised_at AS at, kind, subject "
    "FROM sluice.alert WHERE incident_id IS NULL AND NOT needs_nobody ORDER BY id LIMIT 100 FOR UPDATE SKIP LOCKED"
)
_OF_THE_FAILURE = text(
    "SELECT count(*) FROM sluice.alert WHERE dag_id = :dag_id AND run_id = :run_id "
    "AND (CAST(:task_id AS text) IS NULL OR (task_id = :task_id AND try_number IS NOT DISTINCT FROM :try_number))"
)
_SAME = text("SELECT count(*) FROM sluice.alert WHERE dag_id = :dag_id AND task_id = :task_id AND error = :error")
_IMPACT = text(
    "SELECT (SELECT version FROM sluice.champion WHERE model = :model), "
    "(SELECT max(partition_start) FROM sluice.published_partition WHERE model = :model)"
)


class AlertDispatcher:
    """Stores alerts, keeps their incidents and delivers the messages.

    Parameters
    ----------
    engine : Engine or None
        The database. None when it cannot be reached.
    settings : Settings
        Its `alert_channels` map a channel's name to an address.
    log_file : Path
        Receives one JSON line for each alert, and one for each failure to store or deliver it.
    """

    def __init__(self, engine: Engine | None, settings: Settings, log_file: Path) -> None:
        self._engine, self._settings, self._log_file = engine, settings, log_file
        self._spool = Spool(settings.home / SPOOL)

    def raise_alert(self, alert: Alert, channels: Iterable[str] = ()) -> None:
        """Write the alert to the log file, add it to its incident, and deliver the messages. Never raises."""
        names = tuple(channels)
        self._announce(alert)
        try:
            with self._connected() as connection:
                self._store(connection, alert, names)
        except Exception as error:  # noqa: BLE001 - a dead database must not keep the alert from the channels
            self._not_stored(alert, error)
            self._send_directly(alert, names)
            return
        self.deliver()

    def record(self, alert: Alert) -> None:
        """Write an alert that nobody needs to act on to the log file and the table. Never raises."""
        self._announce(alert)
        try:
            with self._connected() as connection:
                _insert(connection, alert, needs_nobody=True)
        except Exception as error:  # noqa: BLE001 - it is in the log
            self._not_stored(alert, error)

    def raise_alert_once(self, alert: Alert, channels: Iterable[str] = ()) -> None:
        """Raise an alert as `raise_alert` does, unless a task has already raised the same one in whatever run."""
        if not self._found(_SAME, {**alert.model_dump(), "error": formatting.shortened(alert.error)}):
            self.raise_alert(alert, channels)

    def already_alerted(self, alert: Alert) -> bool:
        """Return whether an alert of the same task and try is stored, or any of the run if `alert` has no task.

        An alert of an earlier try does not count: the run was cleared, and fails once more. False when the database
        does not answer.
        """
        return self._found(_OF_THE_FAILURE, alert.model_dump())

    def succeeded(self, dag_id: str, subject: str | None, began: datetime, model: str | None = None) -> None:
        """End the incidents that a run's success shows to be over, and say so. Never raises.

        Parameters
        ----------
        dag_id : str
        subject : str or None
            The partition of the run; None: it has none, and ends every incident of its DAG.
        began : datetime
            When the run began: what was seen since then is not over.
        model : str, optional
            The model of a run whose DAG belongs to all models.
        """
        now = datetime.now(UTC)
        why = "A later run has succeeded." if subject is None else f"A later run for {subject} has succeeded."
        causes = (f"{dag_id}.", f"{dag_id}:")
        try:
            with self._connected() as connection:
                incidents.settle(connection, causes, subject, self._settings, now, why, model=model, seen_before=began)
        except Exception as error:  # noqa: BLE001 - the next success, or a person, ends them
            log.warning("the incidents of %s could not be ended: %s", dag_id, _first_line(error))
            return
        self.deliver()

    def watched(
        self, problems: Sequence[Problem], kinds: Collection[str], channels: Mapping[str, Iterable[str]] = _NO_CHANNELS
    ) -> tuple[Incident, ...]:
        """Make the open incidents of the `kinds` those of the `problems`; return those that were opened or ended.

        Raises
        ------
        sqlalchemy.exc.SQLAlchemyError
            If the database does not answer.
        """
        with self._connected() as connection:
            return incidents.watch(connection, problems, kinds, self._settings, datetime.now(UTC), channels)

    def send_without_database(
        self, problem: Problem, channels: Iterable[str], reference: str, sent: Collection[str] = ()
    ) -> tuple[str, ...]:
        """Tell the channels of a problem while the database cannot be reached; return those that accepted it.

        Parameters
        ----------
        problem : Problem
        channels : iterable of str
            Of the model, beside the default one.
        reference : str
            The id by which receivers know a repetition.
        sent : collection of str
            Channels that have accepted it before.
        """
        incident = _provisional(problem, tuple(channels))
        accepted = []
        for name in incidents.addressed(incident, self._settings):
            if name in sent:
                continue
            message = _message(incident, name, reference, self._settings.airflow_url)
            why = send(self._settings.alert_channels.get(name), message, incident)
            if why is None:
                accepted.append(name)
            else:
                self._not_delivered(incident, message, why)
        return tuple(accepted)

    def open_sent(self, problem: Problem, channels: Iterable[str], sent: Mapping[str, str]) -> None:
        """Open the incident of a problem that channels were told of while the database could not be reached.

        Parameters
        ----------
        problem : Problem
        channels : iterable of str
            Of the model, beside the default one.
        sent : mapping of str to str
            The channels that accepted the message, each with its reference.
        """
        with self._connected() as connection:
            incidents.report(connection, problem, self._settings, datetime.now(UTC), channels, sent)

    def deliver(self, channels: Mapping[str, Iterable[str]] = _NO_CHANNELS, limit: int = 100) -> int:
        """Open the incidents of stored and spooled alerts that have none, and send what is due. Never raises.

        Parameters
        ----------
        channels : mapping of str to iterable of str
            The channels of each model: alerts that the online service stored name none.
        limit : int
            Maximum number of messages that are tried.

        Returns
        -------
        int
            Number of messages that were delivered.
        """
        if self._engine is None:
            return 0
        now = datetime.now(UTC)
        try:
            self._carry_over()
            with self._engine.begin() as connection:
                self._adopt(connection, channels)
                incidents.report_what_was_silenced(connection, self._settings, now)
            return outbox.deliver(self._engine, self._settings, now, self._not_delivered, limit)
        except Exception as error:  # noqa: BLE001 - what is not delivered now is delivered later
            log.warning("alerts could not be delivered, and are tried again later: %s", _first_line(error))
            return 0

    def _store(
        self, connection: Connection, alert: Alert, channels: Iterable[str], spooled: SpooledAlert | None = None
    ) -> None:
        problem = formatting.problem_of(alert, _impact(connection, alert.model))
        delivered = dict.fromkeys(spooled.delivered, spooled.id) if spooled else None
        now = max(alert.at, datetime.now(UTC)) if spooled else alert.at
        incident = incidents.report(connection, problem, self._settings, now, channels, delivered)
        _insert(connection, alert, incident.id, spooled.id if spooled else None)

    def _adopt(self, connection: Connection, channels: Mapping[str, Iterable[str]]) -> None:
        """Open incidents of the alerts that the online service has stored."""
        for row in connection.execute(_WITHOUT_INCIDENT).mappings().all():
            alert = Alert.model_validate({name: row[name] for name in Alert.model_fields})
            problem = formatting.problem_of(alert, _impact(connection, alert.model))
            of_model = channels.get(alert.model or "", ())
            incident = incidents.report(connection, problem, self._settings, alert.at, of_model)
            values = {"incident": incident.id, "id": row["id"]}
            connection.execute(text("UPDATE sluice.alert SET incident_id = :incident WHERE id = :id"), values)

    def _carry_over(self) -> None:
        """Store the alerts of the spool. A file whose alert is stored was kept by a crash, and is only removed."""
        for spooled in self._spool:
            try:
                with self._connected() as connection:
                    if not connection.execute(_KNOWN_SPOOLED, {"id": spooled.id}).scalar_one():
                        self._store(connection, spooled.alert, spooled.channels, spooled)
            except DBAPIError as error:
                if error.connection_invalidated or isinstance(error, OperationalError):
                    raise
                # One that the database refuses, or that another process stores now, must not stop the others.
                self._not_stored(spooled.alert, error)
                continue
            self._spool.remove(spooled)

    def _send_directly(self, alert: Alert, channels: tuple[str, ...]) -> None:
        """Keep an alert in the spool, and tell the channels, unless another one of its cause waits there."""
        problem = formatting.problem_of(alert, "unknown: the database cannot be reached")
        spooled: SpooledAlert | None = None
        waiting = False
        try:
            spooled, waiting = self._spool.add(alert, channels, problem.key)
        except OSError as error:
            self._write_line("alert_not_spooled", alert, f"the alert could not be spooled: {error}", why=str(error))
        if waiting:
            return
        reference = spooled.id if spooled else f"alert-{alert.at:%Y%m%dT%H%M%S.%f}"
        delivered = self.send_without_database(problem, channels, reference)
        if spooled is not None and delivered:
            try:
                self._spool.write(spooled.model_copy(update={"delivered": delivered}))
            except OSError as error:
                log.warning("the spooled alert could not be marked as delivered: %s", error)

    def _connected(self) -> Any:
        if self._engine is None:
            raise ConnectionError("no database")
        return self._engine.begin()

    def _found(self, count: Any, values: Mapping[str, Any]) -> bool:
        if self._engine is None:
            return False
        try:
            with self._engine.connect() as connection:
                return bool(connection.execute(count, values).scalar_one())
        except Exception:  # noqa: BLE001 - two alerts are better than none
            return False

    def _announce(self, alert: Alert) -> None:
        error, title = formatting.shortened(alert.error), formatting.title_of_alert(alert)
        self._write_line("alert", alert.model_copy(update={"error": error}), f"{title}: {error}", text=title)

    def _not_stored(self, alert: Alert, error: Exception) -> None:
        why = _first_line(error)
        self._write_line("alert_not_stored", alert, f"the alert could not be stored: {why}", why=why)

    def _not_delivered(self, incident: Incident, message: AlertMessage, why: str) -> None:
        sentence = f"the alert did not reach channel '{message.channel}': {why}"
        values = {"id": message.reference, "model": incident.model, "kind": incident.kind, "channel": message.channel}
        self._write({"event": "alert_not_delivered", **values, "why": why}, sentence)

    def _write_line(self, event: str, alert: Alert, sentence: str, **more: Any) -> None:
        self._write({"event": event, **alert.to_plain(), **more}, sentence)

    def _write(self, values: Mapping[str, Any], sentence: str) -> None:
        """Write a sentence for people to the log, and a line of JSON for programs to the file."""
        log.error("%s", sentence)
        try:
            self._log_file.parent.mkdir(parents=True, exist_ok=True)
            # Opened for one write: several processes append to this file, and a short write is atomic.
            with self._log_file.open("a", encoding="utf-8") as file:
                file.write(json.dumps(values, ensure_ascii=False) + "\n")
        except OSError as error:
            log.error("the alert could not be written to %s: %s", self._log_file, error)  # noqa: TRY400 - no trace needed


def _insert(
    connection: Connection,
    alert: Alert,
    incident: int | None = None,
    spool_id: str | None = None,
    *,
    needs_nobody: bool = False,
) -> None:
    more = {"incident_id": incident, "spool_id": spool_id, "needs_nobody": needs_nobody}
    connection.execute(_INSERT, alert.model_dump() | {"error": formatting.shortened(alert.error)} | more)


def _impact(connection: Connection, model: str | None) -> str:
    """Return what users of a model get now."""
    if model is None:
        return ""
    version, partition = connection.execute(_IMPACT, {"model": model}).one()
    served = "no version answers" if version is None else f"version {version} answers"
    newest = "no partition is published" if partition is None else f"newest partition {partition:%Y-%m-%d %H:%M} UTC"
    return f"{served}; {newest}"


def _provisional(problem: Problem, channels: tuple[str, ...]) -> Incident:
    """Return an incident that the database does not have yet."""
    return Incident(
        id=0,
        key=problem.key,
        channels=channels,
        occurrences=1,
        opened_at=problem.since,
        last_seen_at=problem.since,
        acknowledged_at=None,
        acknowledged_by=None,
        resolved_at=None,
        resolution=None,
        **problem.model_dump(exclude={"since"}),
    )


def _message(incident: Incident, channel: str, reference: str, airflow_url: str) -> AlertMessage:
    """Return the first message of a provisional incident."""
    return AlertMessage(
        id=0,
        incident_id=0,
        reference=reference,
        channel=channel,
        action="trigger",
        title=formatting.title(incident),
        body=formatting.body(incident, airflow_url),
        created_at=incident.opened_at,
        attempts=0,
        next_attempt_at=incident.opened_at,
        last_error=None,
        delivered_at=None,
        abandoned_at=None,
    )


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
