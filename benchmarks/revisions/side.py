"""One of two compared revisions: ``python side.py CHECKOUT``, run by the code of that checkout.

It trains the samples, starts the service, and writes a line ``FOUND {...}`` with its address. For each line of JSON
that it reads, it scores the partition once and writes another. It ends when its input ends.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

checkout = Path(sys.argv[1])
sys.path[:0] = [str(checkout), str(checkout / "benchmarks")]
os.environ["PYTHONPATH"] = str(checkout)

from scoring import Bench  # noqa: E402  # found by the lines above
from scoring_parts.data import flight_delay, make_rows  # noqa: E402  # found by the lines above
from serving_peers.servers import OURS, Server, commands, end, token, wait_for  # noqa: E402  # found by the lines above
from serving_peers.trained import MODELS, ROWS, Trained, trained  # noqa: E402  # found by the lines above


def main() -> None:
    from include.warehouse import open_engine

    with trained() as found:
        server = start(found)
        bodies = {f"{model}-{rows}": str(found.body(model, rows)) for model in MODELS for rows in ROWS}
        tell({"port": server.port, "headers": server.headers, "bodies": bodies})
        engine = open_engine(found.database_url)
        bench = Bench(found, engine)
        try:
            for line in sys.stdin:
                times = json.loads(line)["times"]
                tell(bench.one(times, make_rows(engine, flight_delay(), times)))
        finally:
            bench.unpublished()
            engine.dispose()
            end(server.process)


def start(found: Trained) -> Server:
    """Start the service as the serving benchmark of that revision does, and wait until it answers for every model."""
    command, port, environment = commands(found, checkout)[OURS]
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("SLUICE_")}
    log = found.home / "server.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            command, env=inherited | environment, cwd=found.home, stdout=file, stderr=file, start_new_session=True
        )
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token()}"}
    server = Server(OURS, process, port, headers)
    for model in MODELS:
        wait_for(server, model, found.body(model, 1).read_bytes(), log)
    return server


def tell(found: dict[str, object]) -> None:
    print("FOUND " + json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
