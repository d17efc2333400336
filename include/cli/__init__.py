"""The command line ``sluice``: the steps of the pipeline from a shell, for debugging and for CI."""

from __future__ import annotations

from collections.abc import Sequence

from include.cli.exit_status import exit_status_of

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command, by default that of ``sys.argv``, and return the exit status."""

    def run() -> int:
        from include.cli.command_line import run_command  # a second of imports: Ctrl-C is quiet during them, too

        return run_command(arguments)

    return exit_status_of(run)
