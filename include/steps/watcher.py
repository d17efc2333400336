"""The watcher: looks again and again at what should be there, and tells of what is not, without Airflow.

It shares nothing with what it watches. While the database cannot be reached, it tells the channels directly, and
remembers in a file what it has told; the incidents are opened when the database is there again.
"""

from __future__ import annotations

import hashlib
import json
import logging
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from include.alerting import AlertDispatcher
from include.alerting.spool import write_synced
from include.models import DeclaredModels, declared_models
from include.records import Incident, Problem
from include.service_client import NO_ANSWER, exchange
from include.settings import Settings
from include.watching import (
    KINDS,
    WATCHER,
    WatchState,
    beat,
    count_labels,
    end_heartbeat,
    find_problems,
    observe,
    unjudged_kinds,
)
from include.watching.state import LabelCount

log = logging.getLogger(__name__)

SENT_FILE: Final = Path("alerts", "sent-without-database.json")
LABELS_EVERY: Final = timedelta(hours=1)
FAILED_KIND: Final = "watcher_failed"
PING_TIMEOUT_SECONDS: Final = 5.0
_LONGEST_PAUSE: Final = 1.0  # so that a stop is noticed


@dataclass(frozen=True, slots=True)
class Look:
    """What one look found.

    Attributes
    ----------
    problems : tuple of Problem
        All that is wrong now, worst first.
    changed : tuple of Incident
        The incidents that were opened or ended.
    delivered : int
        Number of messages that channels have accepted.
    """

    at: datetime
    problems: tuple[Problem, ...]
    changed: tuple[Incident, ...] = ()
    delivered: int = 0


@dataclass(slots=True)
class Watcher:
    """Looks at everything, keeps the incidents of what it finds, and delivers messages.

    Parameters
    ----------
    settings : Settings
    engine : Engine
        Of Sluice's database, which need not answer.
    airflow : Engine or None
        Of Airflow's.
    clock : callable
    """

    settings: Settings
    engine: Engine
    airflow: Engine | None
    clock: Callable[[], datetime]
    _state: WatchState | None = field(init=False, default=None)
    _began: datetime = field(init=False)
    _labels: dict[str, LabelCount] = field(init=False, default_factory=dict)
    _labels_counted: datetime | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self._began = self.clock()

    @property
    def alerts(self) -> AlertDispatcher:
        """The dispatcher of what is found."""
        return AlertDispatcher(self.engine, self.settings, self.settings.log_dir / "alerts.log")

    def look(self) -> Look:
        """Look once. It raises nothing for a source that does not answer."""
        now = self.clock()
        declared = declared_models(self.settings.models_dir)
        self._count_labels(declared, now)
        state = observe(
            declared,
            self.settings,
            self.engine,
            self.airflow,
            now,
            before=self._state,
            began=self._began,
            labels=self._labels,
        )
        self._state = state
        problems = find_problems(state, now)
        channels = {name: spec.alert_channels for name, spec in declared.specs.items()}
        if state.ledger is None:
            self._send_without_database(problems, channels)
            return Look(now, problems)
        try:
            self._open_sent(channels)
            judged = set(KINDS) - unjudged_kinds(state) | {FAILED_KIND}
            changed = self.alerts.watched(problems, judged, channels)
        except SQLAlchemyError as error:  # it went away between two statements: the next look finds it so
            log.warning("the incidents could not be kept: %s", str(error).splitlines()[0])
            return Look(now, problems)
        return Look(now, problems, changed, self.alerts.deliver(channels))

    def report_own_failure(self, error: Exception) -> None:
        """Tell that a look failed by a fault of the watcher itself; nothing is watched until it is mended."""
        problem = Problem(
            kind=FAILED_KIND,
            model=None,
            severity="page",
            summary=f"The watcher cannot look: {type(error).__name__}: {str(error)[:500]}",
            impact="Late partitions, dead processes and a full disk go unseen. Failed tasks still alert.",
            next_step="Read the log of `sluice watch`, and start it again.",
            subjects=(WATCHER,),
            since=self.clock(),
        )
        try:
            self.alerts.watched([problem], [FAILED_KIND])
            self.alerts.deliver()
        except SQLAlchemyError:
            self._send_without_database([problem], {})

    def run(self, stop: threading.Event, seconds: float, after: Callable[[Look], None] = lambda _look: None) -> None:
        """Look every `seconds`, until `stop` is set.

        Parameters
        ----------
        stop : Event
        seconds : float
        after : callable
            Called with each look.
        """
        switch = DeadManSwitch(self.settings.watch_ping_url, self.settings.watch_ping_seconds)
        switch.begin()
        while not stop.is_set():
            began = time.monotonic()
            try:
                look = self.look()
            except Exception as error:
                log.exception("the look failed; the next one follows in %s s", seconds)
                self.report_own_failure(error)
                switch.ping(error)
            else:
                after(look)
                beat(self.settings.home, WATCHER)
                switch.ping()
            while not stop.is_set() and (left := began + seconds - time.monotonic()) > 0:
                stop.wait(min(left, _LONGEST_PAUSE))
        with suppress(OSError):
            end_heartbeat(self.settings.home, WATCHER)

    def _count_labels(self, declared: DeclaredModels, now: datetime) -> None:
        """Count the labels of each model that declares when they come, once an hour: it reads the source."""
        if self._labels_counted is not None and now - self._labels_counted < LABELS_EVERY:
            return
        self._labels_counted = now
        for name, spec in declared.specs.items():
            try:
                count = count_labels(self.engine, spec, now)
            except SQLAlchemyError as error:
                log.warning("the labels of '%s' could not be counted: %s", name, str(error).splitlines()[0])
                continue
            if count is not None:
                self._labels[name] = count

    def _send_without_database(
        self, problems: tuple[Problem, ...] | list[Problem], channels: Mapping[str, tuple[str, ...]]
    ) -> None:
        """Tell each channel once of each problem that was not told before."""
        sent = self._read_sent()
        for problem in problems:
            known = sent.get(problem.key, (problem, {}))[1]
            digest = hashlib.sha256(problem.key.encode()).hexdigest()[:12]
            reference = f"watch-{problem.since:%Y%m%dT%H%M%S}-{digest}"
            of_model = channels.get(problem.model or "", ())
            accepted = self.alerts.send_without_database(problem, of_model, reference, known)
            if accepted or problem.key not in sent:
                sent[problem.key] = (problem, known | dict.fromkeys(accepted, reference))
                self._write_sent(sent)

    def _open_sent(self, channels: Mapping[str, tuple[str, ...]]) -> None:
        """Open the incidents of what was told without the database; what is over is then found to be."""
        sent = self._read_sent()
        for key, (problem, references) in list(sent.items()):
            self.alerts.open_sent(problem, channels.get(problem.model or "", ()), references)
            del sent[key]
            self._write_sent(sent)

    def _read_sent(self) -> dict[str, tuple[Problem, dict[str, str]]]:
        try:
            entries = json.loads((self.settings.home / SENT_FILE).read_text(encoding="utf-8"))
            return {
                key: (Problem.from_plain(each["problem"]), dict(each["references"])) for key, each in entries.items()
            }
        except (OSError, ValueError, KeyError, TypeError):  # there is none, or a crash of the machine has broken it
            return {}

    def _write_sent(self, sent: Mapping[str, tuple[Problem, Mapping[str, str]]]) -> None:
        file = self.settings.home / SENT_FILE
        content = {
            key: {"problem": problem.to_plain(), "references": references}
            for key, (problem, references) in sent.items()
        }
        try:
            write_synced(file, json.dumps(content))
        except OSError as error:  # a full disk: it may be told twice
            log.warning("what was told could not be noted in %s: %s", file, error)


class DeadManSwitch:
    """Tells an outside service that the watcher lives, so that a host that dies is noticed by its silence.

    Source: https://healthchecks.io/docs/http_api/

    Parameters
    ----------
    url : str or None
        The check's ping URL; None: nobody is told.
    seconds : float
        Time between two pings.
    """

    def __init__(self, url: str | None, seconds: float) -> None:
        self._url, self._seconds = url, seconds
        self._last = 0.0

    def begin(self) -> None:
        """Tell that the watcher starts."""
        self._send("/start")

    def ping(self, error: Exception | None = None) -> None:
        """Tell that a look succeeded, if the last ping is old enough; of one that failed, tell at once."""
        if error is not None:
            self._send("/fail", f"{type(error).__name__}: {error}"[:1000])
        elif time.monotonic() - self._last >= self._seconds:
            self._last = time.monotonic()
            self._send("")

    def _send(self, action: str, body: str = "") -> None:
        if self._url is None:
            return
        url = urlsplit(self._url)
        target = url.path.rstrip("/") + action
        try:
            response = exchange("POST", url, target, body.encode(), {}, timeout=PING_TIMEOUT_SECONDS, max_bytes=1024)
        except (*NO_ANSWER, ValueError) as error:  # its URL is a secret
            log.warning("the dead man's switch could not be reached: %s", type(error).__name__)
        else:
            if not response.ok:
                log.warning("the dead man's switch answered %s", response.status)
