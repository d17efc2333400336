"""Two Celery workers of Airflow, as if they were on separate machines, and their broker."""

from __future__ import annotations

from dataclasses import dataclass, field

from deploy.local_stack.airflow_home import WORKERS, airflow_command
from deploy.local_stack.broker import Broker
from deploy.local_stack.errors import LocalStackError
from deploy.local_stack.polling import poll_until
from deploy.local_stack.ports import free_port
from deploy.local_stack.stack import Stack
from deploy.local_stack.steps import Note, StepResult
from deploy.local_stack.supervisor import STACK_VARIABLE

TASKS_PER_WORKER = 4
READY_TIMEOUT_SECONDS = 300.0  # it takes 25 s on two idle cores
BROKER_TIMEOUT_SECONDS = 30.0
BROKER_PORT = 6389


@dataclass(slots=True)
class Workers:
    """Starts the broker and the two workers of `stack`. Each method that takes a `note` is the work of one step."""

    stack: Stack
    broker: Broker = field(init=False)

    def __post_init__(self) -> None:
        settings = self.stack.settings
        reserved = (settings.airflow_port, settings.service_port)
        self.broker = Broker(
            settings.home / "broker",
            free_port(BROKER_PORT, reserved=reserved),
            self.stack.airflow.secrets.broker_password,
        )
        self.stack.airflow_options = self.broker.airflow_options

    def start_broker(self, note: Note) -> StepResult:
        """Start Redis, and wait until it answers."""
        self.broker.configure()
        environment = {STACK_VARIABLE: str(self.stack.settings.home)}
        broker = self.stack.supervisor.start("broker", self.broker.command, environment, self.broker.folder)

        def ready() -> bool | None:
            self.stack.check_processes()
            return self.broker.is_ready() or None

        note("waiting for it to answer")
        poll_until(
            ready,
            self.stack.stop,
            timeout=BROKER_TIMEOUT_SECONDS,
            on_timeout=lambda: LocalStackError(
                f"expected Redis to answer on 127.0.0.1:{self.broker.port} within "
                f"{BROKER_TIMEOUT_SECONDS:.0f} s; found no answer.",
                "Read its log, and run again.",
                broker.log,
            ),
        )
        return StepResult(f"Redis answers on 127.0.0.1:{self.broker.port}")

    def start_workers(self, note: Note) -> StepResult:
        """Start the workers, and wait until each has logged that it is ready for tasks."""
        for name in WORKERS:
            self.start(name)
        waiting = list(WORKERS)

        def ready() -> bool | None:
            self.stack.check_processes()
            waiting[:] = [name for name in waiting if not self.is_ready(name)]
            note("waiting for " + ", ".join(waiting))
            return None if waiting else True

        poll_until(
            ready,
            self.stack.stop,
            timeout=READY_TIMEOUT_SECONDS,
            on_timeout=lambda: LocalStackError(
                f"expected the workers to be ready within {READY_TIMEOUT_SECONDS:.0f} s; "
                f"not ready: {', '.join(waiting)}.",
                f"Read {waiting[0]}.log in the log folder, and run again.",
                self.stack.settings.log_dir,
            ),
        )
        return StepResult(f"{' and '.join(WORKERS)} are ready, each for up to {TASKS_PER_WORKER} tasks at once")

    def start(self, name: str) -> None:
        """Start one worker. Airflow records its tasks under `name`."""
        log = self.stack.settings.log_dir / f"{name}.log"
        log.unlink(missing_ok=True)  # `is_ready` reads it
        # The API server reads the log files itself, so the worker need not serve them.
        command = airflow_command(
            "celery", "worker", "--celery-hostname", name, "--concurrency", str(TASKS_PER_WORKER), "--skip-serve-logs"
        )  # fmt: skip
        environment = self.stack.airflow_environment() | {"SLUICE_WORKER_NAME": name}
        self.stack.supervisor.start(name, command, environment, self.stack.cwd)

    def is_ready(self, name: str) -> bool:
        """Return whether a worker has logged that it is connected and takes tasks."""
        log = self.stack.settings.log_dir / f"{name}.log"
        return log.exists() and f"{name} ready" in log.read_text(encoding="utf-8", errors="replace")
