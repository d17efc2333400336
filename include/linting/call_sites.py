"""Where in a ``spec.py`` each part of the declaration is written.

The calls of the file are run through a hook, which knows the place of each call in the text. So a part that a function
or a loop of the file makes has a place, too, and a call that fails does not end the reading.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any, Final

HOOK: Final = "__sluice_call__"
# These look at the frame that calls them.
_OF_THE_FRAME: Final = frozenset({"super", "locals", "globals", "vars", "dir", "eval", "exec"})


class CallHooks(ast.NodeTransformer):
    """Replaces each call ``f(x)`` by ``HOOK(number, f, x)``, but in a ``try``, whose ``except`` expects its errors.

    Attributes
    ----------
    calls : list of ast.Call
        The calls by their numbers.
    """

    def __init__(self) -> None:
        self.calls: list[ast.Call] = []

    def _leave(self, node: ast.Try) -> ast.Try:
        return node

    def _hook(self, node: ast.Call) -> ast.Call:
        """Put the hook around a call, after those within it."""
        self.generic_visit(node)
        if isinstance(node.func, ast.Name) and node.func.id in _OF_THE_FRAME:
            return node
        self.calls.append(node)
        number = ast.Constant(len(self.calls) - 1)
        hooked = ast.Call(ast.Name(HOOK, ast.Load()), [number, node.func, *node.args], node.keywords)
        return ast.fix_missing_locations(ast.copy_location(hooked, node))

    # The names by which `ast` finds the two.
    visit_Try, visit_Call = _leave, _hook  # noqa: N815

    def original(self, node: ast.AST | None) -> ast.AST | None:
        """Return the call that a hook was put around, or the node itself."""
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == HOOK:
            number = node.args[0]
            if isinstance(number, ast.Constant) and isinstance(number.value, int):
                return self.calls[number.value]
        return node


class CallSites:
    """The calls that made the objects of a declaration."""

    def __init__(self, original: Callable[[ast.AST | None], ast.AST | None]) -> None:
        self._original = original
        self._made: dict[int, tuple[object, ast.Call]] = {}  # with the object, so that its id stays its own

    def add(self, made: object, call: ast.Call) -> None:
        """Remember the call that made an object: the first, since a function may return what another one made."""
        self._made.setdefault(id(made), (made, call))

    def line(self, part: object, path: tuple[str | int, ...]) -> int | None:
        """Return the line of the field at `path` within `part`, or of what is around it, as near as is known."""
        node: ast.AST | None = self._call_of(part)
        line, value = getattr(node, "lineno", None), part
        for step in path:
            value = _child(value, step)
            inner = _within(node, step)
            if isinstance(inner, ast.keyword):
                line, inner = inner.lineno, inner.value
            elif inner is not None:
                line = getattr(inner, "lineno", line)
            call = self._call_of(value)
            if call is not None:
                line = call.lineno
            node = call or self._original(inner)
        return line

    def _call_of(self, made: object) -> ast.Call | None:
        found = self._made.get(id(made))
        return None if found is None else found[1]


def _child(value: object, step: str | int) -> Any:
    try:
        return value[step] if isinstance(step, int) else getattr(value, step)  # type: ignore[index]
    except (AttributeError, TypeError, LookupError):
        return None


def _within(node: ast.AST | None, step: str | int) -> ast.AST | None:
    """Return the keyword argument of a call, or the element of a tuple, as far as it is written there."""
    if isinstance(node, ast.Call) and isinstance(step, str):
        return next((each for each in node.keywords if each.arg == step), None)
    if isinstance(node, ast.Tuple | ast.List) and isinstance(step, int):
        written = not any(isinstance(each, ast.Starred) for each in node.elts)
        return node.elts[step] if written and step < len(node.elts) else None
    return None
