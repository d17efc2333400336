"""Batch scoring beside the naive way, and its stages alone: rows a second, memory.

    .venv/bin/python benchmarks/scoring.py [--rounds 2] [--times 10] [--large 30] [--quick] [--no-write]

flight_delay's champion scores the sample ten times over (3.4 million rows) in the embedded PostgreSQL of a home
of the bench's own (.sluice/bench), and writes the tables into docs/performance.md. `--large` is the larger
partition, whose memory is compared; 0 leaves it out. Use a quiet machine: the database shares its cores.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scoring_parts import REPOSITORY, report
from scoring_parts.data import flight_delay, make_rows
from serving_peers.report import write_between_markers
from serving_peers.trained import Trained, trained
from sqlalchemy import Engine

WORKER = Path(__file__).resolve().parent / "scoring_parts" / "worker.py"
DOCUMENT = REPOSITORY / "docs" / "performance.md"
PARTITION = "flight_delay_p20000101_0000"


class Bench:
    """Starts what is measured, each in a process of its own."""

    def __init__(self, found: Trained, engine: Engine) -> None:
        self.found, self.engine = found, engine

    def start(self, what: str, times: int, *more: object) -> subprocess.Popen[str]:
        """Start a process and wait until it has imported everything."""
        words = [WORKER, what, self.found.home, self.found.database_url, times, *more]
        environment = os.environ | {"OMP_NUM_THREADS": "2"}  # to the naive way's favour: it may use both cores
        process = subprocess.Popen(
            [sys.executable, *map(str, words)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        assert process.stdout is not None
        if process.stdout.readline() != "ready\n":
            raise SystemExit(f"bench: FAILED: {what} did not begin")
        return process

    def finish(self, *processes: subprocess.Popen[str]) -> list[dict[str, Any]]:
        """Let them work, and return what they measured."""
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        answers = [process.communicate()[0] for process in processes]
        if any(process.returncode for process in processes):
            raise SystemExit("bench: FAILED: see the error above")
        return [json.loads(answer.strip().splitlines()[-1]) for answer in answers]

    def alone(self, what: str, times: int) -> dict[str, Any]:
        return self.finish(self.start(what, times))[0]

    def unpublished(self) -> None:
        """Make the partition one that was never published."""
        self._statement(f'DROP TABLE IF EXISTS scores."{PARTITION}"')

    def _statement(self, statement: str) -> None:
        with self.engine.begin() as connection:
            connection.exec_driver_sql(statement)
        with self.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("CHECKPOINT")  # what one left to be written is not the next one's to pay for

    def one(self, times: int, rows: int, *, again: bool = False) -> dict[str, Any]:
        """Score the partition with one worker."""
        if not again:
            self.unpublished()
        return self.finish(self.start("ours", times, 1, -1, rows))[0]

    def two(self, times: int, rows: int) -> dict[str, Any]:
        """Score it with two processes, a shard each."""
        self.unpublished()
        (planned,) = self.finish(self.start("ours", times, 2, -2, rows))
        told = json.dumps({"plan": planned["plan"]})
        workers = [self.start("ours", times, 2, shard, told) for shard in range(2)]
        started = time.perf_counter()
        shards = self.finish(*workers)
        seconds = time.perf_counter() - started
        told = json.dumps({"plan": planned["plan"], "staged": [each["staged"] for each in shards]})
        (published,) = self.finish(self.start("ours", times, 2, 0, told))
        seconds += planned["seconds"] + published["seconds"]
        return {"rows": published["rows"], "seconds": seconds, "peak_mib": max(each["peak_mib"] for each in shards)}

    def naive(self, times: int) -> dict[str, Any]:
        """Score the naive way, and drop what it wrote."""
        found = self.alone("naive", times)
        self._statement("DROP TABLE staging.naive_scores")
        return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--times", type=int, default=10, help="how many times over the sample is scored")
    parser.add_argument("--large", type=int, default=30, help="the same for the comparison of memory; 0: without")
    parser.add_argument("--quick", action="store_true", help="the sample once, without the larger partition")
    parser.add_argument("--no-write", action="store_true", help="leave docs/performance.md as it is")
    asked = parser.parse_args()
    times, large = (1, 0) if asked.quick else (asked.times, asked.large)
    busy = os.getloadavg()[0]
    figures: dict[str, list[Mapping[str, Any]]] = defaultdict(list)

    def note(name: str, found: Mapping[str, Any]) -> None:
        figures[name].append(found)
        print(f"{name}: {found['rows'] / found['seconds']:,.0f} rows/s, {found['peak_mib']:.0f} MiB", flush=True)

    from include.warehouse import open_engine

    with trained() as found:
        engine = open_engine(found.database_url)
        bench = Bench(found, engine)
        rows = make_rows(engine, flight_delay(), times)
        for _ in range(asked.rounds):
            note(report.ONE, bench.one(times, rows))
            note(report.AGAIN, bench.one(times, rows, again=True))
            note(report.TWO, bench.two(times, rows))
            note(report.READ, bench.alone("read", times))
            note(report.PREDICT, bench.alone("predict", times))
            note(report.COPY, bench.alone("copy", times))
            note(report.NAIVE, bench.naive(times))
        if large:
            note(report.LARGE, bench.one(large, make_rows(engine, flight_delay(), large)))
        bench.unpublished()
        engine.dispose()
    text = report.document(figures, asked.rounds, busy)
    sys.stdout.write(f"\n{text}\n")
    if not asked.quick and not asked.no_write:
        write_between_markers(DOCUMENT, text, report.BEGIN, report.END)
        sys.stdout.write(f"written into {DOCUMENT.relative_to(REPOSITORY)}\n")
    return 1 if "MISSED" in text and not asked.quick else 0


if __name__ == "__main__":
    sys.exit(main())
