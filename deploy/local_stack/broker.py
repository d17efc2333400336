"""The broker of a distributed start: a Redis of our own, on loopback, with a password, that keeps nothing."""

from __future__ import annotations

import contextlib
import shutil
import socket
from dataclasses import dataclass
from pathlib import Path

from deploy.local_stack.airflow_home import write_private
from include.errors import LocalStackError

# Longer than any task may take (`retrain`: two hours): a message is given out again after this time though its task
# runs. A dead worker's tasks do not wait for it: the scheduler misses their heartbeat long before.
REDELIVERED_AFTER_SECONDS = 3 * 3600


@dataclass(frozen=True, slots=True)
class Broker:
    """Where the broker listens, what opens it, and the folder that holds its configuration."""

    folder: Path
    port: int
    password: str

    @property
    def command(self) -> list[str]:
        """The command line that runs it; the password is in a file, since anybody may list command lines.

        Raises
        ------
        LocalStackError
            When there is no Redis on this machine.
        """
        return [redis_server(), str(self.folder / "redis.conf")]

    def configure(self) -> None:
        """Write its configuration, for the owner alone."""
        lines = (
            "bind 127.0.0.1",
            f"port {self.port}",
            f"requirepass {self.password}",
            f'dir "{self.folder}"',
            # What is queued is in Airflow's database too: a broker that starts empty loses nothing for good.
            'save ""',
            "appendonly no",
            "daemonize no",
        )
        write_private(self.folder / "redis.conf", "\n".join(lines) + "\n")

    def url(self, number: int) -> str:
        """Return the address of one of its databases."""
        return f"redis://:{self.password}@127.0.0.1:{self.port}/{number}"

    def answers(self) -> bool:
        """Tell whether it takes the password and answers."""
        question = f"AUTH {self.password}\r\nPING\r\n".encode("ascii")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
            connection.sendall(question)
            connection.settimeout(1)
            answer = b""
            while answer.count(b"\r\n") < 2 and (more := connection.recv(64)):
                answer += more
            return answer == b"+OK\r\n+PONG\r\n"
        return False

    @property
    def airflow_options(self) -> dict[str, str]:
        """What makes Airflow hand its tasks to workers, and notice within a minute that one died."""
        return {
            "CORE__EXECUTOR": "CeleryExecutor",
            "CORE__HOSTNAME_CALLABLE": "include.workers.worker_name",
            "CELERY__BROKER_URL": self.url(0),
            "CELERY__RESULT_BACKEND": self.url(1),
            "CELERY__TASK_ACKS_LATE": "True",
            "CELERY__WORKER_PREFETCH_MULTIPLIER": "1",
            # Within one process: a pool of processes is made anew for each batch of tasks, at 0.3 s each.
            "CELERY__SYNC_PARALLELISM": "1",
            # On a machine whose cores are busy the broker may be slow to answer; the default is a second.
            "CELERY__OPERATION_TIMEOUT": "10",
            "CELERY_BROKER_TRANSPORT_OPTIONS__VISIBILITY_TIMEOUT": str(REDELIVERED_AFTER_SECONDS),
            "SCHEDULER__TASK_INSTANCE_HEARTBEAT_SEC": "5",
            "SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "30",
            "SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "5",
            # A task that a worker took and died with before it began is still 'queued' in Airflow's books.
            "SCHEDULER__TASK_QUEUED_TIMEOUT": "90",
            "SCHEDULER__TASK_QUEUED_TIMEOUT_CHECK_INTERVAL": "10",
        }


def redis_server() -> str:
    """Return the program.

    Raises
    ------
    LocalStackError
        When it is not on PATH.
    """
    found = shutil.which("redis-server")
    if found is None:
        raise LocalStackError(
            "expected the program redis-server on PATH, the broker between Airflow and its workers; found none.",
            "Debian and Ubuntu: sudo apt-get install -y redis-server. macOS: brew install redis. "
            "Then run `make distributed` again.",
        )
    return found
