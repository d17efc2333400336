"""The same steps from the shell, for debugging and for CI: ``sluice --help``."""

from include.cli.main import main

__all__ = ["main"]
