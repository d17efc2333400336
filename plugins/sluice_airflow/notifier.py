"""The failure callback of every task and every run: it turns Airflow's context into an `Alert`.

A task's callback runs in the task's process. A run's runs in the DAG processor, when the run timed
out or failed. A failed run was alerted by its task already, unless that task was killed so hard that
it ran no callback: then the run's callback is what speaks, and Airflow tells it which task it was.
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
    """Raises an alert at Sluice's alert dispatcher.

    Parameters
    ----------
    model : str or None
        The model that the DAG is about; None: the run's parameter ``model``, if it has one.
    channels : iterable of str
        Channels beside the default one.
    of_run : bool
        Whether this is a run's callback, not a task's.
    """

    def __init__(self, model: str | None = None, channels: Iterable[str] = (), *, of_run: bool = False) -> None:
        super().__init__()
        self.model, self.channels, self.of_run = model, tuple(channels), of_run

    def notify(self, context: Context) -> None:
        """Alert, unless it is a run's failure that a task of it has alerted already."""
        # Imported here: a DAG file needs the notifier at parse, and none of this.
        from include.alerting import AlertDispatcher

        settings = load_settings()
        alert = alert_of(dict(context), self.model, settings.airflow_url, of_run=self.of_run)
        with _engine(settings) as engine:
            dispatcher = AlertDispatcher(engine, settings, settings.log_dir / "alerts.log")
            timed_out = context.get("reason") == TIMED_OUT
            if self.of_run and not timed_out and dispatcher.already_alerted(alert.dag_id, alert.run_id):
                return
            dispatcher.raise_alert(alert, self.channels)


@contextmanager
def _engine(settings: Settings) -> Iterator[Engine | None]:
    """Yield an engine; None when there is no database to be had, which must not stop an alert."""
    from include.warehouse import embedded_server, open_engine

    engine: Engine | None = None
    with ExitStack() as stack:
        try:
            url = settings.database_url or stack.enter_context(embedded_server(settings.home))
            engine = open_engine(url, connect_args={"connect_timeout": SECONDS_TO_CONNECT})
            stack.callback(engine.dispose)
        except Exception:  # whatever it is, the channels and the log file are still there
            log.exception("the alert will not be stored: there is no database")
        yield engine
