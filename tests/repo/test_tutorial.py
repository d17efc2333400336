"""The tutorial does what it says: its commands are run in order, and must say what it shows."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.repo.console import agrees
from tests.repo.page import REPOSITORY, Reader


def test_the_comparison_can_fail() -> None:
    assert agrees("Wrote ...spec.py.", "Wrote /tmp/spec.py.")
    assert not agrees("Wrote ...spec.py.", "Wrote nothing.")


@pytest.mark.slow  # each command is a process of its own, and each training a whole one
def test_every_command_of_the_tutorial_says_what_the_tutorial_shows(database_url: str, tmp_path: Path) -> None:
    reader = Reader(tmp_path, database_url)
    reader.follow(REPOSITORY / "docs" / "tutorial.md")
    assert len(reader.seconds) > 10
