"""The command line as a shell meets it: help without a word, the version, tab completion, and how fast they are."""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from include.cli import main
from include.cli.command_line import build_parser
from include.cli.lazy import LazyCommand
from include.settings import REPOSITORY
from tests.builders import declare_model


def parsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for each in action.choices.values():
                yield from parsers(each)


def test_without_a_word_it_shows_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    said = capsys.readouterr()
    assert said.out.startswith("usage: sluice")
    assert "promote a registered version to champion" in said.out
    assert said.err == ""


def test_it_says_its_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    written = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["version"]
    assert capsys.readouterr().out == f"sluice {written}\n"


def test_every_command_is_a_function_that_there_is() -> None:
    commands = {each.prog: each.get_default("command") for each in parsers(build_parser())}
    lazy = {name: each for name, each in commands.items() if each is not None}
    assert len(lazy) > 20
    assert set(commands) - set(lazy) == {"sluice", "sluice shadow"}
    for each in lazy.values():
        assert isinstance(each, LazyCommand)
        assert callable(each.load())


def test_the_help_imports_nothing_that_takes_long() -> None:
    """A figure of seconds would depend on the machine: three of them were these imports."""
    slow = ("sqlalchemy", "numpy", "pandas", "sklearn", "pydantic", "psycopg", "pyarrow", "argcomplete", "rich")
    program = (
        "import sys; from include.cli import main; main([]);"
        f" sys.exit(', '.join(each for each in {slow} if each in sys.modules) or None)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=REPOSITORY)
    assert (done.returncode, done.stderr) == (0, "")


def completions(line: str, models: Path) -> list[str]:
    """Return what the shell offers after `line`: the protocol of argcomplete, as its shell function speaks it."""
    with open(os.devnull) as nothing:  # noqa: PTH123
        environment = os.environ | {
            "_ARGCOMPLETE": "1", "_ARGCOMPLETE_IFS": "\n", "COMP_LINE": line, "COMP_POINT": str(len(line)),
            "SLUICE_MODELS_DIR": str(models), "_ARGCOMPLETE_STDOUT_FILENAME": str(models / "completions"),
            "PYTHONPATH": str(REPOSITORY),
        }  # fmt: skip
        subprocess.run([sys.executable, "-m", "include.cli"], env=environment, check=False, stdin=nothing, timeout=120)
    return [re.sub(r"\s+$", "", each) for each in (models / "completions").read_text().split("\n")]


def test_tab_completes_commands_models_and_options(tmp_path: Path) -> None:
    models = tmp_path / "models"
    for name in ("churn", "parcels"):
        declare_model(models, name)
    (models / "broken").mkdir()
    (models / "broken" / "spec.py").write_text("raise SystemExit('a declaration is not read for its name')")
    assert completions("sluice rol", models) == ["rollback"]
    assert completions("sluice train ", models) == ["broken", "churn", "parcels"]
    assert completions("sluice shadow set p", models) == ["parcels"]
    assert completions("sluice history churn --", models)[:1] == ["--help"]
    assert "--json" in completions("sluice history churn --", models)
    assert completions("sluice new ", models) == [""], "a new model has a name of its own"
    assert completions("sluice train ", tmp_path / "models" / "churn") == [""]
