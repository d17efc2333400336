"""`make sweep`: every estimator of scikit-learn, in the pipelines that people write, against its own answers.

Exit status 1: an answer that is not scikit-learn's, a traceback, a refusal that names no step, or no end in time.
"""

from __future__ import annotations

import argparse
import random
import re
import sys
import time
from pathlib import Path
from typing import Any

from include.settings import REPOSITORY
from tests.sweep.pool import Results, code_digest, run_all
from tests.sweep.report import failures, print_progress, summary, write_page

PAGE = REPOSITORY / "docs" / "reference" / "estimators.md"


def main() -> int:
    options = _parse()
    if options.list:
        print("\n".join(_chosen(options.only)))
        return 0
    results = Results(options.results, options.rows, options.code or code_digest())
    names = _chosen(options.only)
    if options.sample:
        names = random.Random(0).sample(names, min(options.sample, len(names)))  # noqa: S311  # no secret
    missing = [name for name in names if name not in results.found]
    print(f"{len(names):,} configurations, {len(missing):,} to run; results in {options.results}", flush=True)
    started, ended = time.monotonic(), 0

    def done(name: str, outcome: dict[str, Any]) -> None:
        nonlocal ended
        ended += 1
        print_progress(results.add(name, outcome), ended, len(missing), time.monotonic() - started)

    try:
        if not options.no_run:
            run_all(missing, options.workers, options.rows, options.seconds, done)
    except KeyboardInterrupt:
        print(f"interrupted after {ended:,}; the same command continues")
        return 130
    found = [results.found[name] for name in names if name in results.found]
    print(summary(found))
    every = _chosen(None)
    if options.write_docs and (len(found) == len(every) or options.partial):
        write_page(PAGE, found, every)
        print(f"wrote {PAGE.relative_to(REPOSITORY)}")
    elif options.write_docs:
        print(f"{PAGE.relative_to(REPOSITORY)} was not written: it needs all configurations, or --partial")
    return 1 if failures(found) or len(found) < len(names) else 0


def _chosen(pattern: str | None) -> list[str]:
    from tests.sweep.configurations import configurations

    return [name for name in configurations() if not pattern or re.search(pattern, name)]


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.sweep", description=__doc__)
    parser.add_argument("--only", metavar="PATTERN", help="only configurations whose name this expression finds")
    parser.add_argument("--sample", type=int, metavar="N", help="only N of them, chosen at random, always the same")
    parser.add_argument("--workers", type=int, default=2, help="processes (default: 2)")
    parser.add_argument("--rows", type=int, default=2000, help="fresh rows of each kind (default: 2000)")
    parser.add_argument("--seconds", type=float, default=90, help="seconds of work for a configuration (default: 90)")
    parser.add_argument("--results", type=Path, default=REPOSITORY / ".sluice" / "sweep" / "results.jsonl")
    parser.add_argument("--code", help="resume results of this name instead of those of exactly this code")
    parser.add_argument("--no-run", action="store_true", help="run nothing: only summarise the results that are there")
    parser.add_argument("--write-docs", action="store_true", help="write docs/reference/estimators.md")
    parser.add_argument("--partial", action="store_true", help="write it even if some configurations were not run")
    parser.add_argument("--list", action="store_true", help="print the names of the configurations")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
