"""docs/architecture.md is true: its rooms are the packages, and what each may know is what each imports."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import grimp
import pytest

from include.settings import REPOSITORY

PAGE = (REPOSITORY / "docs" / "architecture.md").read_text(encoding="utf-8")
ROOTS = ("include", "model_service")


@cache
def import_graph() -> grimp.ImportGraph:
    return grimp.build_graph(*ROOTS)


def room_of(module: str) -> str:
    """Return the room of a module: the first two parts of its name."""
    return ".".join(module.split(".")[:2])


def rooms_imported() -> dict[str, set[str]]:
    """Return, for each room, the other rooms that its modules import."""
    graph = import_graph()
    found: dict[str, set[str]] = {}
    for module in graph.modules:
        others = found.setdefault(room_of(module), set())
        for imported in graph.find_modules_directly_imported_by(module):
            if room_of(imported) != room_of(module):
                others.add(room_of(imported))
    return {room: others for room, others in found.items() if room not in ROOTS}


def rooms_described() -> dict[str, set[str]]:
    """Return, for each row of the tables of rooms, the rooms in its column 'Imports'.

    Names without a dot belong to the same root as the room.
    """
    found: dict[str, set[str]] = {}
    for root in ROOTS:
        section = PAGE.split(f"### Rooms of `{root}/`\n")[1].split("\n##")[0]
        for name, _, imports, _ in re.findall(r"^\| `(\w+)` \| (.+?) \| (.*?) \| (.+?) \|$", section, re.MULTILINE):
            names = re.findall(r"`([\w.]+)`", imports)
            found[f"{root}.{name}"] = {other if "." in other else f"{root}.{other}" for other in names}
    return found


def test_every_room_is_described_and_every_described_room_exists() -> None:
    assert sorted(rooms_described()) == sorted(rooms_imported())


@pytest.mark.parametrize("room", sorted(rooms_imported()))
def test_a_room_imports_what_the_page_says_and_nothing_else(room: str) -> None:
    real = {other for other in rooms_imported()[room] if other not in ROOTS}
    assert sorted(rooms_described().get(room, ())) == sorted(real)


def mentioned() -> list[str]:
    """Return the dotted names of the flows, such as ``include.scoring.planning.plan``."""
    flows = PAGE.split("## Flows\n")[1].split("\n## ")[0]
    return re.findall(r"`((?:include|model_service|plugins|dags|deploy)[./][\w./]+)`", flows)


def test_the_flows_name_enough_to_follow_them() -> None:
    assert len(mentioned()) >= 30


@pytest.mark.parametrize("name", sorted(set(mentioned())))
def test_a_module_or_function_of_a_flow_exists(name: str) -> None:
    if "/" in name:
        assert (REPOSITORY / name).exists()
        return
    parts = name.split(".")
    while parts and not _file(parts):
        parts.pop()
    rest = name.split(".")[len(parts) :]
    assert parts, f"no module of {name}"
    if rest:
        tree = ast.parse(_file(parts).read_text(encoding="utf-8"))  # type: ignore[union-attr]  # there, by the loop
        assert _defines(tree, rest), f"{'.'.join(parts)} does not define {'.'.join(rest)}"


def _file(parts: list[str]) -> Path | None:
    base = REPOSITORY.joinpath(*parts)
    return next((file for file in (base.with_suffix(".py"), base / "__init__.py") if file.is_file()), None)


def _defines(tree: ast.Module, names: list[str]) -> bool:
    body: list[ast.stmt] = tree.body
    for name in names:
        node = next((each for each in body if _named(each, name)), None)
        if node is None:
            return False
        body = getattr(node, "body", [])
    return True


def _named(node: ast.stmt, name: str) -> bool:
    if isinstance(node, ast.ImportFrom):
        return any((alias.asname or alias.name) == name for alias in node.names)
    if isinstance(node, ast.Assign | ast.AnnAssign):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        return any(isinstance(target, ast.Name) and target.id == name for target in targets)
    return getattr(node, "name", None) == name
