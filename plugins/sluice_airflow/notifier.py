"""The failure callback of every task and every run: it makes an `Alert` of Airflow's context.

A task's callback runs in the task's process. A run's callback runs in the DAG processor, when the run timed out or
failed. For a failed run its task has usually alerted already. If that task was killed before its callback ran, the
run's callback alerts instead: Airflow passes it the task that failed last, with its try.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from airflow.sdk import BaseNotifier

from include.settings import Settings, load_settings
from sluice_airflow.alerts import TIMED_OUT, alert_of

if TYPE_CHECKING:
    from airflow.sdk import Context
    from sqlalchemy import Engine

log = logging.getLogger(__name__)

SECONDS_TO_CONNECT = 5


class SluiceNotifier(BaseNotifier):
    """Raises an alert.

    Parameters
    ----------
    model : str or None
        The model of the DAG. None: the run's parameter ``model``, if it has one.
    channels : iterable of str
        Channels in addition to the default one.
    of_run : bool
        Whether this is the callback of a run, not of a task.
    """

    def __init__(self, model: str | None = None, channels: Iterable[str] = (), *, of_run: bool = False) -> None:
        super().__init__()
        self.model, self.channels, self.of_run = model, tuple(channels), of_run

    def notify(self, context: Context) -> None:
        """Raise the alert, unless it is for a run of which a task has alerted already, or nobody needs to act."""
        # Imported here: a DAG file needs only the class when it is parsed.
        from include.alerting import AlertDispatcher

        settings = load_settings()
        alert = alert_of(dict(context), self.model, settings.airflow_url, of_run=self.of_run)
        with _engine(settings) as engine:
            dispatcher = AlertDispatcher(engine, settings, settings.log_dir / "alerts.log")
            if not getattr(context.get("exception"), "alerts", True):
                dispatcher.record(alert)
                return
            timed_out = context.get("reason") == TIMED_OUT
            if self.of_run and not timed_out and dispatcher.already_alerted(alert):
                return
            dispatcher.raise_alert(alert, self.channels)


@contextmanager
def _engine(settings: Settings) -> Iterator[Engine | None]:
    """Yield an engine; None when the database cannot be reached, which must not stop an alert."""
    from include.warehouse import embedded_server, open_engine

    engine: Engine | None = None
    with ExitStack() as stack:
        try:
            url = settings.database_url or stack.enter_context(embedded_server(settings.home))
            engine = open_engine(url, connect_args={"connect_timeout": SECONDS_TO_CONNECT})
            stack.callback(engine.dispose)
        except Exception:  # the alert still goes to the channels and the log file
            log.exception("the alert cannot be stored: the database cannot be reached")
        yield engine
