"""What a DAG file may import when it is parsed: Airflow's public face, light words, the plugin package."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

DAGS = Path(__file__).parent.parent.parent / "dags"
FILES = sorted(DAGS.glob("*.py"))
ALLOWED = (
    "__future__", "collections", "datetime", "typing",
    "airflow.sdk", "airflow.providers.standard",
    "include.errors", "include.flows", "include.models", "include.reasons", "include.records", "include.settings",
    "include.spec",
    "sluice_airflow",
)  # fmt: skip


def imports_at_parse(tree: ast.AST) -> set[str]:
    """Return the modules imported by code that runs at parse: everything but the bodies of functions."""
    found: set[str] = set()
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            found.update(name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found |= imports_at_parse(node)
    return found


def allowed(module: str) -> bool:
    return any(module == name or module.startswith(name + ".") for name in ALLOWED)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_a_dag_file_imports_only_what_is_light(file: Path) -> None:
    found = imports_at_parse(ast.parse(file.read_text(encoding="utf-8")))
    assert {module for module in found if not allowed(module)} == set()


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_a_dag_file_is_wiring_under_100_lines(file: Path) -> None:
    assert len(file.read_text(encoding="utf-8").splitlines()) < 100


def test_the_rule_sees_an_import_in_a_condition_and_not_one_in_a_function() -> None:
    source = "if True:\n    import pandas\ndef task():\n    import sklearn\n"
    assert imports_at_parse(ast.parse(source)) == {"pandas"}
