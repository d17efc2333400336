"""Errors that end a start: a part of the stack failed, or a stop was requested."""

from __future__ import annotations

from pathlib import Path

from include.errors import SluiceError


class LocalStackError(SluiceError):
    """A part of the local stack failed.

    Parameters
    ----------
    reason : str
        What was expected and what was found.
    advice : str
        What to do next.
    log : Path or None
        The file with the details.
    """

    def __init__(self, reason: str, advice: str, log: Path | None = None) -> None:
        super().__init__(f"{reason} {advice}")
        self.reason, self.advice, self.log = reason, advice, log


class StoppedError(Exception):
    """The stack is being stopped, so a step ended early."""
