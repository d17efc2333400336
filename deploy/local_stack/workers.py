"""Airflow's workers in processes of their own, as they would be on machines of their own, and their broker."""

from __future__ import annotations

from dataclasses import dataclass, field

from deploy.local_stack.airflow_home import WORKERS, airflow_command
from deploy.local_stack.broker import Broker
from deploy.local_stack.polling import poll_until
from deploy.local_stack.ports import free_port
from deploy.local_stack.stack import Note, Stack
from deploy.local_stack.steps import Outcome
from deploy.local_stack.supervisor import MARK
from include.errors import LocalStackError

TASKS_A_WORKER = 4
BOOT_SECONDS = 300.0  # 25 s on two cores that nobody else uses
BROKER_PORT = 6389


@dataclass(slots=True)
class Workers:
    """The broker and two workers of `stack`, each a step's work."""

    stack: Stack
    broker: Broker = field(init=False)

    def __post_init__(self) -> None:
        settings = self.stack.settings
        taken = (settings.airflow_port, settings.service_port)
        self.broker = Broker(
            settings.home / "broker",
            free_port(BROKER_PORT, reserved=taken),
            self.stack.airflow.secrets.broker_password,
        )
        self.stack.airflow_options = self.broker.airflow_options

    def start_broker(self, note: Note) -> Outcome:
        """Start Redis, and wait until it answers."""
        self.broker.configure()
        mark = {MARK: str(self.stack.settings.home)}
        started = self.stack.supervisor.start("broker", self.broker.command, mark, self.broker.folder)

        def answers() -> bool | None:
            self.stack.check_processes()
            return self.broker.answers() or None

        note("waiting for it to answer")
        poll_until(
            answers,
            self.stack.stop,
            seconds=30,
            otherwise=lambda: LocalStackError(
                f"expected Redis to answer on 127.0.0.1:{self.broker.port} within 30 s; found no answer.",
                "Read its log, and run again.",
                started.log,
            ),
        )
        return Outcome(f"Redis answers on 127.0.0.1:{self.broker.port}")

    def start_workers(self, note: Note) -> Outcome:
        """Start the workers, and wait until each has said that it is ready for tasks."""
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
            seconds=BOOT_SECONDS,
            otherwise=lambda: LocalStackError(
                f"expected the workers to be ready within {BOOT_SECONDS:.0f} s; found {', '.join(waiting)} not.",
                f"Read {waiting[0]}.log in that folder, and run again.",
                self.stack.settings.log_dir,
            ),
        )
        return Outcome(f"{' and '.join(WORKERS)} are ready, each for {TASKS_A_WORKER} tasks at once")

    def start(self, name: str) -> None:
        """Start one worker; Airflow's records know it by `name`."""
        log = self.stack.settings.log_dir / f"{name}.log"
        log.unlink(missing_ok=True)  # whether it is ready is read from it
        # Logs lie in files that the API server reads, so nobody needs to serve them.
        command = airflow_command(
            "celery", "worker", "--celery-hostname", name, "--concurrency", str(TASKS_A_WORKER), "--skip-serve-logs"
        )  # fmt: skip
        environment = self.stack.airflow_environment() | {"SLUICE_WORKER_NAME": name}
        self.stack.supervisor.start(name, command, environment, self.stack.cwd)

    def is_ready(self, name: str) -> bool:
        """Tell whether a worker has said that it is connected and takes tasks."""
        log = self.stack.settings.log_dir / f"{name}.log"
        return log.exists() and f"{name} ready" in log.read_text(encoding="utf-8", errors="replace")
