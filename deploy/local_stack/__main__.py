"""``python -m deploy.local_stack``: what `make run`, `make distributed` and `make clean` call."""

from __future__ import annotations

import argparse
import sys
import time

from deploy.local_stack.distributed import DistributedScenario
from deploy.local_stack.errors import LocalStackError
from deploy.local_stack.launch import launch, stop
from deploy.local_stack.main_scenario import MainScenario
from include.errors import SluiceError
from include.settings import load_settings


def main(arguments: list[str] | None = None) -> int:
    """Start or stop the local stack; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m deploy.local_stack", description="Start or stop Sluice on this machine."
    )
    action = parser.add_mutually_exclusive_group()
    action.add_argument("--once", action="store_true", help="start it, print the summary, and stop it")
    action.add_argument("--stop", action="store_true", help="stop the stack of this home (SLUICE_HOME)")
    parser.add_argument("--distributed", action="store_true", help="run the tasks in two Celery workers with a broker")
    parser.add_argument(
        "--began", type=float, metavar="SECONDS", help="when the set-up began, as Unix time; shown in the summary"
    )
    options = parser.parse_args(arguments)
    setup_seconds = max(0.0, time.time() - options.began) if options.began else 0.0
    try:
        settings = load_settings()
        if options.stop:
            return stop(settings)
        scenario = DistributedScenario if options.distributed else MainScenario
        return launch(settings, scenario, once=options.once, setup_seconds=setup_seconds)
    except SluiceError as error:
        lines = [error.reason, error.advice] if isinstance(error, LocalStackError) else [str(error)]
        sys.stderr.write("\n".join(lines) + "\n")
        return 1


if __name__ == "__main__":
    sys.exit(main())
