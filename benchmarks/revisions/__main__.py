"""Another revision beside this checkout, in one run: serving and scoring, medians and ratios.

    make bench-compare BASE=v0.1.0
    .venv/bin/python benchmarks/revisions --base REVISION [--rounds 15] [--scoring-rounds 5] [--times 3]

The base is checked out into .sluice/bench-base as a worktree of git. Each of the two trains the samples with its own
code, in its own home, and is started by its own benchmark modules. Both are measured in turn, first the one and then
the other, so that a busy moment of the machine meets both. Both use the packages of this checkout's .venv.
A ratio above 1 means that this checkout is faster.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from itertools import product
from pathlib import Path
from statistics import median, quantiles
from typing import Any

BENCHMARKS = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(BENCHMARKS))

from serving_peers import REPOSITORY  # noqa: E402  # found by the line above
from serving_peers.report import machine  # noqa: E402  # found by the line above
from serving_peers.wrk import check_wrk, load  # noqa: E402  # found by the line above

CHECKOUTS = REPOSITORY / ".sluice" / "bench-base"
SIDE = Path(__file__).resolve().parent / "side.py"
CONNECTIONS = 8
CELLS = tuple(product(("iris", "flight_delay"), (1, 100)))


class Side:
    """One of the two revisions: a process that runs its code and does one thing at a time, on request."""

    def __init__(self, checkout: Path) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("SLUICE_", "PYTHON"))}
        self.process = subprocess.Popen(
            [sys.executable, str(SIDE), str(checkout)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=checkout,
            env=environment,
        )
        self.server = self._next()

    def score(self, **options: int) -> dict[str, Any]:
        """Score the partition once; return rows, seconds and peak memory."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(options) + "\n")
        self.process.stdin.flush()
        return self._next()

    def rate(self, model: str, rows: int, body: str, seconds: float, folder: Path) -> float:
        """Send requests for `seconds` and return how many a second were answered; a failed one ends the benchmark."""
        url = f"http://127.0.0.1:{self.server['port']}/v1/models/{model}/predict"
        found = load(url, Path(body), self.server["headers"], CONNECTIONS, seconds, folder)
        if found.failed:
            raise SystemExit(f"bench: FAILED: {found.failed} requests for {rows} rows of {model} failed")
        return found.rate

    def _next(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith("FOUND "):
                return dict(json.loads(line.removeprefix("FOUND ")))
            sys.stdout.write(f"  {line}")
            sys.stdout.flush()
        raise SystemExit("bench: FAILED: a side ended; see the error above")

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(60)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", required=True, help="the revision to compare with: a tag, a branch, a commit")
    parser.add_argument("--rounds", type=int, default=15, help="rounds of serving (default: 15)")
    parser.add_argument("--seconds", type=float, default=1, help="of each measurement of serving (default: 1)")
    parser.add_argument("--scoring-rounds", type=int, default=5, help="rounds of scoring (default: 5)")
    parser.add_argument("--times", type=int, default=3, help="how many times over the sample is scored (default: 3)")
    options = parser.parse_args()
    check_wrk()
    with ExitStack() as stack:
        base = checked_out(options.base)
        print(f"preparing both: {options.base}, then this checkout", flush=True)
        sides = [stack.enter_context(closing(Side(each))) for each in (base, REPOSITORY)]
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        lines = serving(sides, options.rounds, options.seconds, folder)
        lines += scoring(sides, options.scoring_rounds, options.times)
    print(
        f"\n{options.base} beside this checkout on {machine()}, each in turn; load at the end {os.getloadavg()[0]:.1f}"
    )
    print("\n".join((HEADER, *lines)))
    return 0


HEADER = (
    "| | base, median | this checkout, median | ratio, median of the rounds | its quartiles |\n|---|--:|--:|--:|--:|"
)


def serving(sides: Sequence[Side], rounds: int, seconds: float, folder: Path) -> list[str]:
    """Return a line for each model and number of rows: requests a second."""
    lines = []
    for model, rows in CELLS:
        body = sides[0].server["bodies"][f"{model}-{rows}"]  # the same bytes for both

        def measure(side: Side, model: str = model, rows: int = rows, body: str = body) -> float:
            return side.rate(model, rows, body, seconds, folder)

        for side in sides:
            measure(side)  # the first requests of a worker are slow
        lines.append(compared(f"serving, {model}, {rows} rows: requests/s", sides, rounds, measure))
    return lines


def scoring(sides: Sequence[Side], rounds: int, times: int) -> list[str]:
    """Return a line: rows a second that one worker plans, scores and publishes."""

    def measure(side: Side) -> float:
        found = side.score(times=times)
        return float(found["rows"] / found["seconds"])

    return [compared(f"scoring, flight_delay, {times} x the sample: rows/s", sides, rounds, measure)] if rounds else []


def compared(what: str, sides: Sequence[Side], rounds: int, measure: Callable[[Side], float]) -> str:
    """Measure both sides in turn and return a line of the table."""
    pairs = []
    for number in range(rounds):
        order = list(sides) if number % 2 == 0 else list(sides)[::-1]  # neither is always the first
        found = {id(side): measure(side) for side in order}
        pairs.append([found[id(side)] for side in sides])
        print(f"{what}: {pairs[-1][0]:,.0f} {pairs[-1][1]:,.0f} ({pairs[-1][1] / pairs[-1][0]:.3f})", flush=True)
    base, ours = (median(column) for column in zip(*pairs, strict=True))
    ratios = [ours / base for base, ours in pairs]
    low, _, high = quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
    return f"| {what} | {base:,.0f} | {ours:,.0f} | {median(ratios):.3f} | {low:.3f} to {high:.3f} |"


def checked_out(revision: str) -> Path:
    """Return a folder with the files of `revision`. It stays: its trained samples are used again."""
    commit = git("rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}")
    folder = CHECKOUTS / commit[:12]
    if not folder.exists():
        git("worktree", "add", "--detach", "--force", str(folder), commit)
    return folder


def git(*words: str) -> str:
    done = subprocess.run(["git", "-C", str(REPOSITORY), *words], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"bench: FAILED: git {' '.join(words)}: {done.stderr.strip() or 'there is no such revision'}")
    return done.stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
