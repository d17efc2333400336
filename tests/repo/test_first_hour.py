"""The page of the first hour does what it says, on its five models. ``-s`` shows the seconds of each command."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.repo.page import REPOSITORY, Reader


@pytest.mark.slow  # five models of real data
def test_every_command_of_the_first_hour_says_what_the_page_shows(database_url: str, tmp_path: Path) -> None:
    reader = Reader(tmp_path, database_url)
    reader.follow(REPOSITORY / "docs" / "first-hour.md")
    assert reader.failures == []
