"""What `kill -9` of a worker costs at full load, and how long an idle service takes to stop.

    .venv/bin/python benchmarks/recovery.py [--kills 5] [--stops 50] [--no-write]

wrk asks two workers on 16 connections without a pause. A worker is killed; what wrk lost stands beside the connections
that the worker had, of which each may have one request in flight. The worker is there again when another process holds
one of the connections. Then an idle service is started and stopped again and again: by SIGTERM to its process, and to
its process group. The table goes into docs/security.md.
"""

from __future__ import annotations

import argparse
import os
import platform
import signal
import statistics
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path

import psutil
from serving_peers import REPOSITORY, report
from serving_peers.servers import OURS, Server, started
from serving_peers.trained import MODELS, Trained, trained
from serving_peers.wrk import Load, check_wrk, load

CONNECTIONS = 16
SECONDS = 10.0
KILLED_AFTER = 3.0
DOCUMENT = REPOSITORY / "docs" / "security.md"


@dataclass(frozen=True)
class Kill:
    """One kill: the load around it, the connections that the worker had, and seconds until there were two again."""

    load: Load
    connections: int
    seconds: float


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--stops", type=int, default=50, help="of each kind")
    parser.add_argument("--no-write", action="store_true", help="leave docs/security.md as it is")
    asked = parser.parse_args()
    check_wrk()
    with trained() as found:
        kills = [kill(found) for _ in range(asked.kills)]
        stops = {
            "SIGTERM to the process": [stop(found, os.kill) for _ in range(asked.stops)],
            "SIGTERM to the process group": [stop(found, os.killpg) for _ in range(asked.stops)],
        }
    text = document(kills, stops)
    sys.stdout.write(text + "\n")
    if not asked.no_write:
        report.write_between_markers(DOCUMENT, text, "<!-- recovery: begin -->", "<!-- recovery: end -->")
        sys.stdout.write(f"written into {DOCUMENT.relative_to(REPOSITORY)}\n")
    # Each connection of the worker has at most one request in flight; what was sent meanwhile is counted once more.
    return int(any(each.load.failed > 2 * each.connections for each in kills))


def kill(found: Trained) -> Kill:
    """Kill a worker under load."""
    with started(found, Path(), names=[OURS]) as servers:
        (server,) = servers.values()
        loads: list[Load] = []
        asking = threading.Thread(target=lambda: loads.append(full_load(found, server)))
        asking.start()
        time.sleep(KILLED_AFTER)
        workers = psutil.Process(server.process.pid).children()
        victim = max(workers, key=lambda each: len(connections_of(each, server.port)))
        had = len(connections_of(victim, server.port))
        victim.kill()
        began = time.monotonic()
        before, held = {each.pid for each in workers}, []
        while not any(
            each.pid not in before and connections_of(each, server.port)
            for each in psutil.Process(server.process.pid).children()
        ):
            held.append(probe(server.port))  # left open, so that the next one goes to another worker
        seconds = time.monotonic() - began
        asking.join()
    print(f"kill -9: {loads[0].rate:,.0f}/s, {loads[0].failed} lost of {had} connections, {seconds:.2f} s", flush=True)
    return Kill(loads[0], had, seconds)


def full_load(found: Trained, server: Server) -> Load:
    url = f"http://127.0.0.1:{server.port}{server.paths[MODELS[0]]}"
    return load(url, found.body(MODELS[0], 1), server.headers, CONNECTIONS, SECONDS, found.home)


def connections_of(process: psutil.Process, port: int) -> list[int]:
    try:
        found = process.net_connections("tcp")
    except psutil.NoSuchProcess:
        return []
    return [each.raddr.port for each in found if each.status == psutil.CONN_ESTABLISHED and each.laddr.port == port]


def probe(port: int) -> HTTPConnection | None:
    """Return a connection that was answered once, for whichever worker takes it; None if that one was killed."""
    connection = HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/health")
        connection.getresponse().read()
    except OSError:
        return None
    return connection


def stop(found: Trained, tell: Callable[[int, int], None]) -> float:
    """Return how long an idle service takes from the signal to its end."""
    with started(found, Path(), names=[OURS]) as servers:
        (server,) = servers.values()
        began = time.monotonic()
        tell(server.process.pid, signal.SIGTERM)
        server.process.wait(60)
        return time.monotonic() - began


def document(kills: list[Kill], stops: dict[str, list[float]]) -> str:
    machine = f"{platform.machine()}, {os.cpu_count()} cores, two workers, wrk on the same cores"
    of_kills = [
        (number, f"{each.load.rate:,.0f}", each.load.failed, each.connections, f"{each.seconds:.2f}")
        for number, each in enumerate(kills, 1)
    ]
    of_stops = [(name, len(each), f"{statistics.median(each):.2f}", f"{max(each):.2f}") for name, each in stops.items()]
    killed = (f"`kill -9` of a worker, {CONNECTIONS} connections", "Requests a second, the kill included", "Lost")
    killed += ("Connections of that worker", "Seconds until two workers answer")
    stopped = ("Stop of an idle service", "Times", "Median, seconds", "Longest, seconds")
    by = f"By `benchmarks/recovery.py` on {time.strftime('%Y-%m-%d')}: {machine}."
    return "\n\n".join((by, table(killed, of_kills), table(stopped, of_stops)))


def table(head: tuple[str, ...], rows: list[tuple[object, ...]]) -> str:
    lines = [head, ("---", *("--:",) * (len(head) - 1)), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


if __name__ == "__main__":
    sys.exit(main())
