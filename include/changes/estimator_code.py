"""The part of a ``spec.py`` that makes the estimator, in a form in which two texts can be compared.

The text is parsed and never run. Comments, docstrings and layout make no difference, and neither does code that the
estimator does not use: the values of the declaration are compared as values.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator

_KEYWORD = "estimator"
_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


def estimator_code(text: str) -> str:
    """Return the expression that is declared as estimator, and every definition of the file that it uses, in order.

    If the estimator is not given as a keyword of one call, this is the whole file.
    """
    tree = _without_docstrings(ast.parse(text))
    given = [
        keyword.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        for keyword in node.keywords
        if keyword.arg == _KEYWORD and _name_of(node.func) == "ModelSpec"
    ]
    if len(given) != 1:
        return ast.unparse(tree)
    used = _dependencies(tree, given[0])
    return "\n".join([*(ast.unparse(each) for each in tree.body if each in used), ast.unparse(given[0])])


def _dependencies(tree: ast.Module, expression: ast.expr) -> set[ast.stmt]:
    """Return the statements that define or change a name that `expression`, or one of them, uses."""
    by_name: dict[str, list[ast.stmt]] = defaultdict(list)
    for statement in tree.body:
        for name in _changed_names(statement):
            by_name[name].append(statement)
    used: set[ast.stmt] = set()
    wanted, known = list(_names(expression)), set[str]()
    while wanted:
        name = wanted.pop()
        if name in known:
            continue
        known.add(name)
        for statement in by_name[name]:
            if statement not in used:
                used.add(statement)
                wanted += _names(statement)
    return used


def _changed_names(statement: ast.stmt) -> Iterator[str]:
    """Yield the names that a statement of the file defines or may change."""
    if isinstance(statement, _DEFINITIONS):
        yield statement.name
    elif isinstance(statement, ast.Import | ast.ImportFrom):
        for alias in statement.names:
            yield (alias.asname or alias.name).split(".")[0]
    elif isinstance(statement, ast.Assign):
        for target in statement.targets:
            yield from _names(target)
    elif isinstance(statement, ast.AnnAssign):
        yield from _names(statement.target)
    else:
        yield from _names(statement)  # a call such as PARAMETERS.update(...), a condition, a loop: any name in it


def _names(node: ast.AST) -> Iterator[str]:
    return (each.id for each in ast.walk(node) if isinstance(each, ast.Name))


def _name_of(function: ast.expr) -> str:
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""


def _without_docstrings(tree: ast.Module) -> ast.Module:
    for node in ast.walk(tree):
        if not isinstance(node, ast.Module | ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        first = node.body[0] if node.body else None
        if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
            node.body = node.body[1:] or [ast.Pass()]
    return tree
