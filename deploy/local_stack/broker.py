"""The broker of `make distributed`: a Redis of the stack, on loopback, with a password, that stores nothing on disk."""

from __future__ import annotations

import contextlib
import shutil
import socket
from dataclasses import dataclass
from pathlib import Path

from deploy.local_stack.airflow_home import write_private
from deploy.local_stack.errors import LocalStackError

# After this time a message is delivered again, even if its task still runs: so it is longer than any task may take
# (`retrain`: two hours). The tasks of a dead worker do not wait for it: the scheduler misses their heartbeat earlier.
VISIBILITY_TIMEOUT_SECONDS = 3 * 3600


@dataclass(frozen=True, slots=True)
class Broker:
    """The broker's port, its password, and the folder of its configuration."""

    folder: Path
    port: int
    password: str

    @property
    def command(self) -> list[str]:
        """The command line that runs it. The password is in a file: every user can list command lines.

        Raises
        ------
        LocalStackError
            When Redis is not installed.
        """
        return [redis_server(), str(self.folder / "redis.conf")]

    def configure(self) -> None:
        """Write its configuration, readable by the owner only."""
        lines = (
            "bind 127.0.0.1",
            f"port {self.port}",
            f"requirepass {self.password}",
            f'dir "{self.folder}"',
            # Airflow's database has the queued tasks, too: a broker that starts empty loses none.
            'save ""',
            "appendonly no",
            "daemonize no",
        )
        write_private(self.folder / "redis.conf", "\n".join(lines) + "\n")

    def url(self, number: int) -> str:
        """Return the URL of one of its databases."""
        return f"redis://:{self.password}@127.0.0.1:{self.port}/{number}"

    def is_ready(self) -> bool:
        """Return whether it accepts the password and answers."""
        request = f"AUTH {self.password}\r\nPING\r\n".encode("ascii")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
            connection.sendall(request)
            connection.settimeout(1)
            answer = b""
            while answer.count(b"\r\n") < 2 and (more := connection.recv(64)):
                answer += more
            return answer == b"+OK\r\n+PONG\r\n"
        return False

    @property
    def airflow_options(self) -> dict[str, str]:
        """The options with which Airflow gives its tasks to workers, and notices within a minute that one has died."""
        return {
            "CORE__EXECUTOR": "CeleryExecutor",
            "CORE__HOSTNAME_CALLABLE": "include.settings.worker_hostname",
            "CELERY__BROKER_URL": self.url(0),
            "CELERY__RESULT_BACKEND": self.url(1),
            "CELERY__TASK_ACKS_LATE": "True",
            "CELERY__WORKER_PREFETCH_MULTIPLIER": "1",
            # In one process: Airflow would start a new pool of processes for each batch of tasks, which takes 0.3 s.
            "CELERY__SYNC_PARALLELISM": "1",
            # On a busy machine the broker may answer slowly; the default is one second.
            "CELERY__OPERATION_TIMEOUT": "10",
            "CELERY_BROKER_TRANSPORT_OPTIONS__VISIBILITY_TIMEOUT": str(VISIBILITY_TIMEOUT_SECONDS),
            "SCHEDULER__TASK_INSTANCE_HEARTBEAT_SEC": "5",
            "SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "30",
            "SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "5",
            # If a worker dies between taking a task and starting it, the task is still 'queued' in Airflow's database.
            "SCHEDULER__TASK_QUEUED_TIMEOUT": "90",
            "SCHEDULER__TASK_QUEUED_TIMEOUT_CHECK_INTERVAL": "10",
        }


def redis_server() -> str:
    """Return the path of the program.

    Raises
    ------
    LocalStackError
        When it is not on PATH.
    """
    found = shutil.which("redis-server")
    if found is None:
        raise LocalStackError(
            "expected the program redis-server, the broker between Airflow and its workers, on PATH; found none.",
            "Debian and Ubuntu: sudo apt-get install -y redis-server. macOS: brew install redis. "
            "Then run `make distributed` again.",
        )
    return found
