"""One word for one thing: docs/glossary.md lists the product's terms, and the words that no name uses any more."""

from __future__ import annotations

import argparse
import ast
import re
from collections import defaultdict
from collections.abc import Iterator

from sqlalchemy import Engine, text

from include import spec
from include.cli.command_line import build_parser
from include.settings import REPOSITORY, Settings
from tests.repo.tree import tracked

GLOSSARY = (REPOSITORY / "docs" / "glossary.md").read_text(encoding="utf-8")
SOURCES = [
    file
    for pattern in ("include/*.py", "model_service/*.py", "plugins/*.py", "dags/*.py", "deploy/*.py")
    for file in tracked(pattern)
]
# Terms of the products that we build on, in which a retired word is part of the field's own name.
ALLOWED = {"at_least_once"}


def rows(heading: str) -> list[tuple[str, str]]:
    """Return the two cells of each row of the table under `heading`."""
    section = GLOSSARY.split(f"## {heading}\n")[1].split("\n## ")[0]
    return re.findall(r"^\| (.+?) \| (.+?) \|$", section, re.MULTILINE)[1:]


RETIRED = {word for cell, _ in rows("Retired words") for word in cell.split(", ")}


def words_of(name: str) -> set[str]:
    """Return the words of an identifier: snake_case, kebab-case and CamelCase."""
    return {word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)}


def retired_in(names: Iterator[str] | set[str] | list[str]) -> list[str]:
    return sorted(name for name in names if name not in ALLOWED and words_of(name) & RETIRED)


def defined_names() -> Iterator[tuple[str, str]]:
    """Yield every module, class and function of the sources, with its place."""
    for file in SOURCES:
        place = str(file.relative_to(REPOSITORY))
        yield file.stem if file.stem != "__init__" else file.parent.name, place
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                yield node.name, f"{place}:{node.lineno}"


def test_the_glossary_is_in_order_and_says_one_sentence_a_term() -> None:
    terms = rows("Terms")
    assert [term for term, _ in terms] == sorted({term for term, _ in terms})
    assert [term for term, sentence in terms if not sentence.endswith(".") or len(sentence) < 20] == []


def test_the_words_of_a_name_are_found() -> None:
    assert words_of("SLUICE_SERVICE_JOB_MOST") == {"sluice", "service", "job", "most"}
    assert words_of("ModelSlots") == {"model", "slots"}
    assert words_of("HTTPError.ask") == {"http", "error", "ask"}
    assert words_of("score-card") == {"score", "card"}
    assert retired_in(["JOB_MOST", "almost", "at_least_once"]) == ["JOB_MOST"]


def test_no_module_class_or_function_uses_a_retired_word() -> None:
    assert [f"{place}: {name}" for name, place in defined_names() if retired_in([name])] == []


def test_no_setting_uses_a_retired_word() -> None:
    assert retired_in(list(Settings.model_fields)) == []


def test_no_command_or_option_uses_a_retired_word() -> None:
    names: list[str] = []

    def walk(parser: argparse.ArgumentParser) -> None:
        for action in parser._actions:
            names.extend(action.option_strings)
            if isinstance(action, argparse._SubParsersAction):
                names.extend(action.choices)
                for choice in action.choices.values():
                    walk(choice)

    walk(build_parser())
    assert len(names) > 20
    assert retired_in(names) == []


def test_no_spec_word_uses_a_retired_word() -> None:
    names = set(spec.__all__)
    for name in spec.__all__:
        names |= set(getattr(getattr(spec, name), "model_fields", {}))
    assert len(names) > 60
    assert retired_in(names) == []


def test_no_table_column_or_function_of_the_database_uses_a_retired_word(engine: Engine) -> None:
    query = (
        "SELECT table_name FROM information_schema.tables WHERE table_schema = 'sluice'"
        " UNION SELECT column_name FROM information_schema.columns WHERE table_schema = 'sluice'"
        " UNION SELECT proname FROM pg_proc p JOIN pg_namespace n ON n.oid = pronamespace WHERE nspname = 'sluice'"
    )
    with engine.connect() as connection:
        names = set(connection.execute(text(query)).scalars())
    assert len(names) > 50
    assert retired_in(names) == []


def test_no_metric_or_problem_type_uses_a_retired_word() -> None:
    found = {
        name
        for file in tracked("model_service/*.py")
        for name in re.findall(r"\"(sluice_[a-z_]+|[a-z]+(?:-[a-z]+)+)\"", file.read_text(encoding="utf-8"))
    }
    assert len(found) > 20
    assert retired_in(found) == []


def test_every_public_class_has_a_name_of_its_own() -> None:
    places: dict[str, list[str]] = defaultdict(list)
    for file in SOURCES:
        if "migrations" in file.parts:
            continue
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(str(file.relative_to(REPOSITORY)))
    assert len(places) > 200
    assert {name: files for name, files in places.items() if len(files) > 1} == {}
