"""What is wrong with a declaration as it is written, without a database: all faults at once, each with its line.

`include.models` raises the findings when a declaration is invalid, so Airflow shows the same as `sluice check`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from include.errors import Finding
from include.linting.query_file import read_query_file
from include.linting.spec_file import SpecReading, read_spec_file
from include.spec import QUERY_FILE

__all__ = ["Linted", "SpecReading", "lint"]


@dataclass(frozen=True, slots=True)
class Linted:
    """The findings in the two files of a declaration, and where its parts are written."""

    reading: SpecReading
    query_findings: tuple[Finding, ...]

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Those of ``spec.py``, then those of ``features.sql``, each in the order of the lines."""
        return (*self.reading.findings, *self.query_findings)

    @property
    def errors(self) -> tuple[Finding, ...]:
        """The findings that stop a training."""
        return tuple(each for each in self.findings if each.severity == "error")


def lint(file: Path) -> Linted:
    """Find all faults of the ``spec.py`` in `file`, and of the ``features.sql`` beside it."""
    return Linted(read_spec_file(file), tuple(read_query_file(file.with_name(QUERY_FILE))))
