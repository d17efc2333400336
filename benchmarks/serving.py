"""The online service beside others: requests a second, latency, memory.

    .venv/bin/python benchmarks/serving.py [--seconds 1] [--rounds 9] [--quick] [--no-write]

It trains the two samples through the pipeline in a home of its own (.sluice/bench), starts every server,
lets wrk ask them in turn, and writes the tables into docs/performance.md. PEERS=1 adds MLflow, MLServer
and BentoML, each in an environment of its own. SECONDS=10 is the same as --seconds 10. Use a quiet
machine: wrk and the servers share its cores.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections import defaultdict
from contextlib import ExitStack
from itertools import product
from pathlib import Path

from serving_peers import REPOSITORY, microseconds, peers, report, tensors
from serving_peers.servers import EMPTY, FASTAPI, NAIVE, OURS, OURS_FLASK, Server, ask, started
from serving_peers.trained import HOME, MODELS, ROWS, Trained, trained
from serving_peers.wrk import Load, check_wrk, load

CONNECTIONS = (1, 8, 64)
DOCUMENT = REPOSITORY / "docs" / "performance.md"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    # Many short rounds, not few long ones: which worker a connection falls to is luck, drawn anew in each.
    parser.add_argument("--seconds", type=float, default=float(os.environ.get("SECONDS", "1")), help="of each cell")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--quick", action="store_true", help="one round of one second at 8 connections, one row")
    parser.add_argument("--no-write", action="store_true", help="leave docs/performance.md as it is")
    asked = parser.parse_args()
    seconds, rounds = (1.0, 1) if asked.quick else (asked.seconds, asked.rounds)
    check_wrk()
    busy = os.getloadavg()[0]
    with trained() as found:
        with ExitStack() as stack:
            servers = stack.enter_context(started(found, install_packages()))
            if os.environ.get("PEERS") == "1":
                servers |= stack.enter_context(peers.started(found))
            check_answers(found, servers)
            figures = measure(found, servers, seconds, rounds, quick=asked.quick)
            memory = {name: server.memory() for name, server in servers.items()}
            compared = tensors.compare(found, servers, seconds, rounds)
        split = microseconds.table(found)
    table = report.table(figures, memory)
    sys.stdout.write(f"{table}\n\n{split}\n")
    if asked.quick:
        together, alone = report.share(compared.together), report.share(compared.alone)
        sys.stdout.write(f"OIP binary, share of the bare call: {together:.2f} (one at a time: {alone:.2f})\n")
        return 0
    verdicts = report.targets(figures, memory, compared)
    text = report.document(("\n".join(verdicts), table, split), rounds, seconds, busy)
    sys.stdout.write("\n".join(verdicts) + "\n")
    if not asked.no_write:
        report.write_between_markers(DOCUMENT, text)
        sys.stdout.write(f"written into {DOCUMENT.relative_to(REPOSITORY)}\n")
    return 1 if any("MISSED" in line for line in verdicts) else 0


def install_packages() -> Path:
    """Install what only the bench needs, from hash-pinned requirements, where nothing else sees it."""
    target = HOME / "packages"
    wanted = (REPOSITORY / "benchmarks" / "requirements.txt").read_text(encoding="utf-8")
    stamp = target / "installed.txt"
    if not stamp.exists() or stamp.read_text(encoding="utf-8") != wanted:
        uv = Path(sys.executable).parent / "uv"
        pip = [str(uv), "pip"] if uv.exists() else [sys.executable, "-m", "pip"]
        options = ["--require-hashes", "--no-deps", "--target", str(target)]
        subprocess.run(
            [*pip, "install", "-q", *options, "-r", str(REPOSITORY / "benchmarks" / "requirements.txt")], check=True
        )
        stamp.write_text(wanted, encoding="utf-8")
    return target


def check_answers(found: Trained, servers: dict[str, Server]) -> None:
    """Insist that all servers that answer give the same label: a fast wrong answer is none."""
    for model in MODELS:
        body = found.body(model, 100).read_bytes()
        answers = {
            name: [each["label"] for each in json.loads(ask(server, model, body)[1])["predictions"]]
            for name, server in servers.items()
            if name in (OURS, OURS_FLASK, NAIVE, FASTAPI)
        }
        if len({tuple(labels) for labels in answers.values()}) != 1:
            raise SystemExit(f"bench: FAILED: the servers answer {model} differently: {answers}")


def measure(
    found: Trained, servers: dict[str, Server], seconds: float, rounds: int, *, quick: bool
) -> dict[report.Cell, list[Load]]:
    """Ask every server in every way, round after round, so that a slow minute of the machine meets all of them."""
    figures: dict[report.Cell, list[Load]] = defaultdict(list)
    for server in servers.values():  # whoever is asked first must not be measured cold
        for model in server.paths:
            _ask_for(1, found, server, (server.name, model, 1, 8))
    blocks = product((8,) if quick else CONNECTIONS, MODELS, (1,) if quick else ROWS)
    cells = [
        (name, model, rows, connections)
        for connections, model, rows in blocks
        for name, server in servers.items()
        if model in server.paths and is_measured(name, model, rows, connections)
    ]
    for turn, cell in product(range(rounds), cells):
        one = _ask_for(seconds, found, servers[cell[0]], cell)
        figures[cell].append(one)
        name, model, rows, connections = cell
        print(
            f"round {turn + 1}: {model}, {rows} row(s), {connections} connection(s), {name}: {one.rate:,.0f}/s, "
            f"p50 {one.p50:.2f} ms, p99 {one.p99:.2f} ms, {one.failed} failed",
            flush=True,
        )
    broken = sorted(cell for cell, loads in figures.items() if cell[0] == OURS and any(each.failed for each in loads))
    if broken:
        raise SystemExit(f"bench: FAILED: requests to ours failed: {broken}")
    return figures


def is_measured(name: str, model: str, rows: int, connections: int) -> bool:
    """Whether a cell tells something: what an empty one is sent does not matter, nor ours by Flask everywhere."""
    if name in EMPTY:
        return (model, rows) == ("iris", 1)
    return name != OURS_FLASK or (rows, connections) == (1, 8)


def _ask_for(seconds: float, found: Trained, server: Server, cell: report.Cell) -> Load:
    _, model, rows, connections = cell
    url = f"http://127.0.0.1:{server.port}{server.paths[model]}"
    body = server.bodies.get((model, rows)) or found.body(model, rows)
    return load(url, body, server.headers, connections, seconds, found.home)


if __name__ == "__main__":
    sys.exit(main())
