"""What is wrong with a declaration: `Finding`, with the file and the line, for people and for CI."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

Severity = Literal["error", "warning"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One fault of a ``spec.py`` or a ``features.sql``.

    Attributes
    ----------
    file : Path
    sentence : str
        What was expected and what was found.
    hint : str
        What to do next, as whole sentences; may be empty.
    line : int or None
        The first line of the text that is at fault; None: the file as a whole, such as one that is missing.
    field : str or None
        Dotted path of the field in the declaration, such as ``features.2.minimum``.
    feature : str or None
        The name of the feature or of the column, where it is about one.
    severity : {"error", "warning"}
        An error stops a training or a score; a warning does not.
    """

    file: Path
    sentence: str
    hint: str = ""
    line: int | None = None
    field: str | None = None
    feature: str | None = None
    severity: Severity = "error"

    def __str__(self) -> str:
        where = str(self.file) if self.line is None else f"{self.file}:{self.line}"
        subjects = [f"feature '{self.feature}'"] if self.feature else []
        subjects += [f"field '{self.field}'"] if self.field else []
        subject = f"{', '.join(subjects)}: " if subjects else ""
        warning = "warning: " if self.severity == "warning" else ""
        sentence = f"{self.sentence.rstrip('.')}."
        return f"{where}: {warning}{subject}{sentence} {self.hint}".rstrip()

    def as_json(self) -> dict[str, Any]:
        """Return the attributes as values of JSON."""
        return {**asdict(self), "file": str(self.file)}


def near_name(name: str, known: Iterable[str]) -> str | None:
    """Return the one of the `known` names that `name` was probably meant to be."""
    by_small_letters = {each.lower(): each for each in sorted(known)}
    found = difflib.get_close_matches(name.lower(), by_small_letters, n=1, cutoff=0.7)
    return by_small_letters[found[0]] if found else None


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return the hint that names the nearest of the `known` names; empty if none is near."""
    near = near_name(name, known)
    return f"Did you mean '{near}'?" if near else ""
