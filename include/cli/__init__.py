"""The command line ``sluice``: the steps of the pipeline from a shell, for debugging and for CI."""

from include.cli.main import main

__all__ = ["main"]
