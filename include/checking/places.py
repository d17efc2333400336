"""Findings about a declaration that was read: where the fields, the columns and the estimator are written."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from pathlib import Path

from include.errors import Finding, Severity
from include.linting import Linted
from include.spec import QUERY_FILE, ModelSpec
from include.spec.features_query import line_at

FieldPath = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Places:
    """Makes findings about the two files of a declaration."""

    folder: Path
    linted: Linted

    def field(
        self,
        path: FieldPath,
        sentence: str,
        hint: str = "",
        *,
        feature: str | None = None,
        severity: Severity = "error",
    ) -> Finding:
        """Return a finding about a field of ``spec.py``."""
        line = self.linted.reading.line(*path)
        named = ".".join(str(step) for step in path)
        return Finding(self.folder / "spec.py", sentence, hint, line, named, feature, severity)

    def column(
        self, spec: ModelSpec, name: str, sentence: str, hint: str = "", *, severity: Severity = "error"
    ) -> Finding:
        """Return a finding about a column, at the place in ``spec.py`` that declares it."""
        return self.field(_path_of(spec, name), sentence, hint, feature=name, severity=severity)

    def query(
        self, query: str, offset: int | None, sentence: str, hint: str = "", *, feature: str | None = None
    ) -> Finding:
        """Return a finding about a character of ``features.sql``."""
        line = None if offset is None else line_at(query, offset)
        return Finding(self.folder / QUERY_FILE, sentence, hint, line, feature=feature)

    def query_column(self, query: str, name: str, sentence: str, hint: str = "") -> Finding:
        """Return a finding about a column that ``features.sql`` gives, at the last place that names it."""
        uses = list(re.finditer(rf"\b{re.escape(name)}\b", query))
        return self.query(query, uses[-1].start() if uses else None, sentence, hint, feature=name)

    def estimator(self, spec: ModelSpec, step: str, sentence: str, line: int | None = None) -> Finding:
        """Return a finding about a step of the estimator, such as ``scale (StandardScaler)``, where it is made."""
        file = self.folder / "spec.py"
        called = re.search(r"\((\w+)\)", step) or re.search(r"(\w+)$", step)
        lines = [
            node.lineno
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8-sig")))
            if called is not None and isinstance(node, ast.Call) and _name_of(node.func) == called[1]
        ]
        code = getattr(spec.estimator, "__code__", None)
        first = code.co_firstlineno if code is not None else self.linted.reading.line("estimator")
        return Finding(file, sentence, "", line or (lines[0] if lines else first), "estimator")


def _path_of(spec: ModelSpec, column: str) -> FieldPath:
    for position, feature in enumerate(spec.features):
        if feature.name == column:
            return ("features", position)
    if column == spec.entity_key.column:
        return ("entity_key", "column")
    return ("target", "column") if column == spec.target.column else ("event_time",)


def _name_of(function: ast.expr) -> str | None:
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else None
