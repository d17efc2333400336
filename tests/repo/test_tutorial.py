"""The tutorial does what it says: its commands are run in order, and must say what it shows."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path

import pytest

from tests.repo.console import agrees, commands

REPOSITORY = Path(__file__).parents[2]
TUTORIAL = REPOSITORY / "docs" / "tutorial.md"
SLUICE = REPOSITORY / ".venv" / "bin" / "sluice"


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
    script = commands(TUTORIAL.read_text(encoding="utf-8"))
    assert len(script) > 10
    for command, shown in script:
        words = shlex.split(command)
        assert words[0] == "sluice", f"the tutorial's test runs only sluice; found {command}"
        done = subprocess.run([SLUICE, *words[1:]], env=env, capture_output=True, text=True, check=False, timeout=600)
        said = done.stdout + done.stderr
        if not agrees(shown, said):
            pytest.fail(f"$ {command}\n--- the tutorial shows\n{shown}\n--- it said\n{said}")
