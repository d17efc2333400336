"""Names that a ``spec.py`` uses and that nothing defines."""

from __future__ import annotations

import ast
import builtins
import importlib
import symtable
from collections.abc import Iterator
from typing import Final, NamedTuple

_OF_A_MODULE: Final = frozenset(
    {"__name__", "__file__", "__doc__", "__builtins__", "__spec__", "__loader__", "__package__"}
)


class UnknownName(NamedTuple):
    """A name, and the first line that uses it."""

    name: str
    line: int


def unknown_names(text: str, tree: ast.Module) -> list[UnknownName]:
    """Return the names without a definition, also in functions that only a training calls."""
    known = defined_names(text, tree)
    lines: dict[str, int] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            lines[node.id] = min(node.lineno, lines.get(node.id, node.lineno))
    used = set(_global_uses(symtable.symtable(text, "spec.py", "exec")))
    return [
        UnknownName(name, lines[name])
        for name in sorted(used - known, key=lambda each: lines.get(each, 0))
        if name in lines
    ]


def defined_names(text: str, tree: ast.Module) -> set[str]:
    """Return the names that the module, its imports with ``*`` and Python itself define."""
    table = symtable.symtable(text, "spec.py", "exec")
    own = {
        each.get_name()
        for each in table.get_symbols()
        if each.is_assigned() or each.is_imported() or each.is_namespace()
    }
    own |= set(_declared_global(table))
    return own | set(_imported_with_star(tree)) | set(dir(builtins)) | _OF_A_MODULE


def names_anywhere(text: str, tree: ast.Module) -> set[str]:
    """Return the names of `defined_names`, and those that functions of the module import."""
    imports = (node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom))
    return defined_names(text, tree) | {alias.asname or alias.name for node in imports for alias in node.names}


def names_of(module: str) -> list[str]:
    """Return the public names of a module; none if it cannot be imported."""
    try:
        found = importlib.import_module(module)
    except Exception:  # noqa: BLE001  # a module may raise anything; its own finding says so
        return []
    return list(getattr(found, "__all__", None) or (name for name in vars(found) if not name.startswith("_")))


def _imported_with_star(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and any(alias.name == "*" for alias in node.names):
            yield from names_of(node.module)


def _global_uses(table: symtable.SymbolTable) -> Iterator[str]:
    outermost = table.get_type() == "module"
    for symbol in table.get_symbols():
        if symbol.is_referenced() and (outermost or symbol.is_global()):
            yield symbol.get_name()
    for child in table.get_children():
        yield from _global_uses(child)


def _declared_global(table: symtable.SymbolTable) -> Iterator[str]:
    for child in table.get_children():
        yield from (each.get_name() for each in child.get_symbols() if each.is_declared_global() and each.is_assigned())
        yield from _declared_global(child)
