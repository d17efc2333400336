"""``python -m deploy.local_stack``: what `make run`, `make distributed` and `make clean` call."""

from __future__ import annotations

import argparse
import sys
import time

from deploy.local_stack.distributed import DistributedJob
from deploy.local_stack.launch import halt, launch
from deploy.local_stack.main_scenario import MainJob
from include.errors import LocalStackError, SluiceError
from include.settings import load_settings


def main(arguments: list[str] | None = None) -> int:
    """Start or stop the local stack; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m deploy.local_stack", description="The local stack of Sluice.")
    either = parser.add_mutually_exclusive_group()
    either.add_argument("--once", action="store_true", help="stop everything after the summary")
    either.add_argument("--stop", action="store_true", help="stop what runs from the home")
    parser.add_argument("--distributed", action="store_true", help="tasks run in two workers, handed out by a broker")
    parser.add_argument("--began", type=float, help="when set-up began, in seconds since 1970")
    options = parser.parse_args(arguments)
    setup_seconds = max(0.0, time.time() - options.began) if options.began else 0.0
    try:
        settings = load_settings()
        if options.stop:
            return halt(settings)
        undertaking = DistributedJob if options.distributed else MainJob
        return launch(settings, undertaking, once=options.once, setup_seconds=setup_seconds)
    except SluiceError as error:
        lines = [error.reason, error.advice] if isinstance(error, LocalStackError) else [str(error)]
        sys.stderr.write("\n".join(lines) + "\n")
        return 1


if __name__ == "__main__":
    sys.exit(main())
