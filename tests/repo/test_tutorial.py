"""The tutorial does what it says: its commands are run in order, and must say what it shows.

In a ``console`` block a line that starts with ``$`` is a command; what follows is its output, where
``...`` stands for anything.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
TUTORIAL = REPOSITORY / "docs" / "tutorial.md"
# On a slow machine, a step that runs for long says so in lines of its own; whole seconds tell them from its end.
SLOW_STEP = re.compile(r"^.+ … \d+ s(  .*)?\n", re.MULTILINE)
SLUICE = REPOSITORY / ".venv" / "bin" / "sluice"


def commands() -> list[tuple[str, str]]:
    """Return each command with the output that the tutorial shows for it."""
    blocks = re.findall(r"```console\n(.*?)```", TUTORIAL.read_text(encoding="utf-8"), flags=re.DOTALL)
    shown = re.split(r"^\$ ", "".join(blocks), flags=re.MULTILINE)[1:]
    return [tuple(each.split("\n", 1)) for each in shown]


def agrees(shown: str, said: str) -> bool:
    pattern = ".*".join(re.escape(part) for part in shown.strip().split("..."))
    return re.fullmatch(pattern, said.strip(), flags=re.DOTALL) is not None


def test_the_comparison_can_fail() -> None:
    assert agrees("Wrote ...spec.py.", "Wrote /tmp/spec.py.")
    assert not agrees("Wrote ...spec.py.", "Wrote nothing.")


@pytest.mark.slow  # each command is a process of its own, and each training a whole one
def test_every_command_of_the_tutorial_says_what_the_tutorial_shows(database_url: str, tmp_path: Path) -> None:
    env = os.environ | {
        "SLUICE_DATABASE_URL": database_url,
        "SLUICE_HOME": str(tmp_path / "home"),
        "SLUICE_MODELS_DIR": str(tmp_path / "models"),
        "PYTHONWARNINGS": "ignore",
    }
    (tmp_path / "models").mkdir()
    script = commands()
    assert len(script) > 10
    for command, shown in script:
        words = shlex.split(command)
        assert words[0] == "sluice", f"the tutorial's test runs only sluice; found {command}"
        done = subprocess.run([SLUICE, *words[1:]], env=env, capture_output=True, text=True, check=False, timeout=600)
        said = SLOW_STEP.sub("", done.stdout) + done.stderr
        if not agrees(shown, said):
            pytest.fail(f"$ {command}\n--- the tutorial shows\n{shown}\n--- it said\n{said}")
