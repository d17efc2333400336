"""The callbacks of tasks and runs: a failure makes an `Alert` of Airflow's context, a success ends its incidents.

A task's callback runs in the task's process. A run's callback runs in the DAG processor, when the run timed out or
failed. For a failed run its task has usually alerted already. If that task was killed before its callback ran, the
run's callback alerts instead: Airflow passes it the task that failed last, with its try.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseNotifier

from include.settings import Settings, load_settings
from sluice_airflow.alerts import TIMED_OUT, alert_of, model_of_run

if TYPE_CHECKING:
    from airflow.sdk import Context
    from sqlalchemy import Engine

    from include.alerting import AlertDispatcher

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
        settings = load_settings()
        subject = _partition_of(dict(context), self.model, settings)
        alert = alert_of(dict(context), self.model, settings.airflow_url, of_run=self.of_run, subject=subject)
        with _dispatcher(settings) as dispatcher:
            if not getattr(context.get("exception"), "alerts", True):
                dispatcher.record(alert)
                return
            timed_out = context.get("reason") == TIMED_OUT
            if self.of_run and not timed_out and dispatcher.already_alerted(alert):
                return
            dispatcher.raise_alert(alert, self.channels)


class SuccessNotifier(BaseNotifier):
    """Ends the incidents of a DAG's failures when a run succeeds: of its partition, or of all runs if it has none.

    Parameters
    ----------
    model : str or None
        The model of the DAG.
    """

    def __init__(self, model: str | None = None) -> None:
        super().__init__()
        self.model = model

    def notify(self, context: Context) -> None:
        """End the incidents, and say so to whom was told of them."""
        settings = load_settings()
        subject = _partition_of(dict(context), self.model, settings)
        run = context.get("dag_run")
        dag_id = context["dag"].dag_id if "dag" in context else getattr(run, "dag_id", "unknown")
        began = getattr(run, "start_date", None) or datetime.now(UTC)
        with _dispatcher(settings) as dispatcher:
            dispatcher.succeeded(dag_id, subject, began, self.model or model_of_run(dict(context)))


def _partition_of(context: dict[str, Any], model: str | None, settings: Settings) -> str | None:
    """Return the partition that a run of `score_<model>` scores, as commands take it; None for another DAG.

    If its declaration does not tell the partition, it is the run: no other run's success ends what this one opened.
    """
    run = context.get("dag_run")
    if model is None or getattr(run, "dag_id", None) != f"score_{model}":
        return None
    # A callback tells of a failure: that its partition cannot be named must not stop it.
    try:
        from include.models import declared_models
        from include.records import as_argument
        from sluice_airflow.runs import partition_of

        spec = declared_models(settings.models_dir)[model]
        return as_argument(partition_of(spec, run, (context.get("params") or {}).get("partition")).start)
    except Exception as error:  # noqa: BLE001  # as said above
        log.info("the partition of the run is not known: %s", error)
        return str(context.get("run_id") or getattr(run, "run_id", "unknown"))


@contextmanager
def _dispatcher(settings: Settings) -> Iterator[AlertDispatcher]:
    # Imported here: a DAG file needs only the classes when it is parsed.
    from include.alerting import AlertDispatcher

    with _engine(settings) as engine:
        yield AlertDispatcher(engine, settings, settings.log_dir / "alerts.log")


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
