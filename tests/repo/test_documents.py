"""What a page or an error message tells people to use is there: commands, settings, routes, tables, targets, files.

The other way round, that everything there is is told of, stands in test_reference.py.
"""

from __future__ import annotations

import argparse
import ast
import html
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, text
from werkzeug.exceptions import HTTPException

from include.cli.command_line import build_parser
from include.settings import REPOSITORY, Settings
from include.settings.checks import OTHER_VARIABLES
from model_service import ModelRegistry, create_app
from tests.repo.tree import tracked

PAGES = tracked("*.md")
SOURCES = [
    *PAGES,
    *tracked(
        "include/*.py", "include/*.sql", "model_service/*.py", "plugins/*.py", "dags/*.py", "deploy/*", "Makefile"
    ),
    *(REPOSITORY / name for name in ("Dockerfile", "docker-compose.yaml")),
]


def mentions(pattern: str, files: list[Path]) -> Iterator[tuple[str, str]]:
    """Yield where, and what the first group of `pattern` matched."""
    for file in files:
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
            for match in re.finditer(pattern, html.unescape(line)):
                yield f"{file.relative_to(REPOSITORY)}:{number}", match[1]


def unknown(pattern: str, files: list[Path], known: set[str]) -> list[str]:
    found = list(mentions(pattern, files))
    assert found
    return [f"{where}: {name}" for where, name in found if name not in known]


def test_every_command_mentioned_exists() -> None:
    (choices,) = [each.choices for each in build_parser()._actions if isinstance(each, argparse._SubParsersAction)]
    assert unknown(r"(?:[`$]|bin/|^)\s?sluice ([a-z]+(?:-[a-z]+)*)\b", SOURCES, set(choices)) == []


# What a word in a command stands for.
PLACEHOLDERS = {
    **dict.fromkeys(("MODEL", "NAME", "[MODEL]", "<name>", "<model>"), "churn"),
    **dict.fromkeys(("VERSION", "N"), "1"),
    **dict.fromkeys(("TIME", "DATE"), "2026-01-31"),
    **dict.fromkeys(("TABLE", "schema.table"), "source.churn"),
}


def arguments(command: str) -> Iterator[str]:
    """Yield the arguments of a command of the text, without its placeholders."""
    before = ""
    for word in shlex.split(" ".join(command.split()).partition("\\|")[0]):
        if word != "...":
            yield PLACEHOLDERS.get(word, word)
        elif before.startswith("--"):
            yield "because it is so"
        else:
            yield from ("churn", "--from", "2026-01-01", "--to", "2026-01-02")
        before = word


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_every_command_in_a_sentence_is_understood(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sentences = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    for command in re.findall(r"`sluice ([a-z-]+\s[^`]+)`", sentences):
        if re.fullmatch(r"(keys|shadow|token) [a-z]+", command):
            continue  # the name of a command of two words
        try:
            build_parser().parse_args(list(arguments(command)))
        except SystemExit:
            pytest.fail(f"sluice {command}: {capsys.readouterr().err}")


def test_every_setting_mentioned_exists() -> None:
    settings = {f"SLUICE_{name.upper()}" for name in Settings.model_fields}
    written = [REPOSITORY / "docker-compose.yaml", REPOSITORY / "deploy" / "compose" / "distributed.yaml"]
    compose = {name for file in written for name in re.findall(r"\bSLUICE_[A-Z_]+\b", file.read_text())}
    assert unknown(r"\b(SLUICE_[A-Z_]*[A-Z])\b(?!_)", SOURCES, settings | compose | set(OTHER_VARIABLES)) == []


def test_every_make_target_mentioned_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    assert unknown(r"(?:[`$] ?|^\s*)make ([a-z][a-z-]*)\b", [*PAGES, *tracked(".ci/run")], targets) == []


def test_every_table_and_function_mentioned_exists(engine: Engine) -> None:
    query = (
        "SELECT relname FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE nspname = 'sluice'"
        " UNION SELECT proname FROM pg_proc p JOIN pg_namespace n ON n.oid = pronamespace WHERE nspname = 'sluice'"
    )
    with engine.connect() as connection:
        names = set(connection.execute(text(query)).scalars())
    assert unknown(r"(?<![\w/.@-])sluice\.([a-z_]+)\b(?![.(:@/])", PAGES, names) == []


def test_every_route_mentioned_exists() -> None:
    routes = create_app(Settings(), ModelRegistry()).url_map.bind("localhost")
    missing = []
    for where, words in mentions(r"\b((?:GET|POST) /(?:[^\s`'\",;)|]*[^\s`'\",;)|.:])?)", SOURCES):
        if where.startswith("deploy/local_stack/airflow_api.py"):
            continue  # Airflow's own routes
        method, path = words.split()
        try:
            routes.match(re.sub(r"<.*?>", "x", path), method)
        except HTTPException:
            missing.append(f"{where}: {words}")
    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_every_link_to_a_file_of_the_tree_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:|mailto:|#)([^)#\s]+)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


def python_blocks() -> Iterator[tuple[str, str]]:
    """Yield where, and the text of each block of Python in a page."""
    for page in PAGES:
        for match in re.finditer(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE):
            yield f"{page.relative_to(REPOSITORY)}: {match[1][:60]!r}", match[1]


def is_python(block: str) -> bool:
    """Return whether a block is Python, or imports and then fields of a call, which are indented."""
    fields = "".join(f"{line}\n" for line in block.splitlines() if line.startswith(" "))
    rest = "".join(f"{line}\n" for line in block.splitlines() if not line.startswith(" "))
    for parts in ([block], [rest, f"f(\n{fields}\n)"]):
        try:
            for part in parts:
                ast.parse(part)
        except SyntaxError:
            continue
        return True
    return False


def test_every_block_of_python_is_python_and_shows_no_field_as_a_tuple() -> None:
    found = dict(python_blocks())
    assert len(found) > 10
    assert [where for where, block in found.items() if not is_python(block)] == []
    # What a formatter makes of `field=value,` that stands alone.
    assert [where for where, block in found.items() if re.search(r"^\w+ = \(.*,\)", block, re.MULTILINE)] == []
