"""The failure callback of every task and every run: it turns Airflow's context into an `Alert`.

A task's callback runs in the task's process. A run's runs in the DAG processor, when the run timed
out or failed; a failed run was alerted by its task already, unless that task was killed so hard that
it ran no callback, and then the run's callback is what speaks.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from airflow.sdk import BaseNotifier

from include.records import Alert
from include.settings import Settings, load_settings

if TYPE_CHECKING:
    from airflow.sdk import Context
    from sqlalchemy import Engine

log = logging.getLogger(__name__)

TIMED_OUT = "timed_out"
"""Airflow's word for a run that took longer than its `dagrun_timeout`."""

SECONDS_TO_CONNECT = 5


class SluiceNotifier(BaseNotifier):
    """Raises an alert at Sluice's alert desk.

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
        from include.alerting import AlertDesk

        settings = load_settings()
        alert = alert_of(dict(context), self.model, settings.airflow_url, of_run=self.of_run)
        with _engine(settings) as engine:
            desk = AlertDesk(engine, settings, settings.log_dir / "alerts.log")
            timed_out = context.get("reason") == TIMED_OUT
            if self.of_run and not timed_out and desk.knows_run(alert.dag_id, alert.run_id):
                return
            desk.raise_alert(alert, self.channels)


def alert_of(context: dict[str, Any], model: str | None, airflow_url: str, *, of_run: bool) -> Alert:
    """Return the alert that Airflow's callback `context` amounts to.

    Any key may be missing: a run's callback, and the one of a task whose process died, get few.
    """
    task_instance = None if of_run else context.get("ti")
    dag_id = context["dag"].dag_id if "dag" in context else getattr(task_instance, "dag_id", "unknown")
    run_id = str(context.get("run_id") or getattr(task_instance, "run_id", "unknown"))
    task_id = getattr(task_instance, "task_id", None)
    attempt = getattr(task_instance, "try_number", None)
    return Alert(
        model=model or _model_of_run(context),
        dag_id=dag_id,
        task_id=task_id,
        run_id=run_id,
        try_number=attempt,
        error=_error_of(context, of_run=of_run),
        log_url=link(airflow_url, dag_id, run_id, task_id, attempt),
        at=datetime.now(UTC),
    )


def link(airflow_url: str, dag_id: str, run_id: str, task_id: str | None, attempt: int | None) -> str:
    """Return the address of a task's log, or of a run, in the Airflow UI."""
    run = f"{airflow_url.rstrip('/')}/dags/{quote(dag_id)}/runs/{quote(run_id, safe='')}"
    if task_id is None:
        return run
    return f"{run}/tasks/{quote(task_id)}" + (f"?try_number={attempt}" if attempt else "")


def _error_of(context: dict[str, Any], *, of_run: bool) -> str:
    error, reason = context.get("exception"), context.get("reason")
    if isinstance(error, BaseException):
        return f"{type(error).__name__}: {error}"
    if error:
        return str(error)
    if of_run and reason == TIMED_OUT:
        return "the run took longer than its dagrun_timeout; tasks that were still running have been stopped"
    if of_run:
        return f"the run failed ({reason or 'no reason given'}), and no task of it could say why: killed from outside?"
    return "the task's process ended without an error of its own: killed from outside, or out of memory?"


def _model_of_run(context: dict[str, Any]) -> str | None:
    asked = (context.get("params") or {}).get("model")
    return str(asked) if asked else None


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
