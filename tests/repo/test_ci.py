"""What CI leans on: the order of the tests, and that the one stack is given to tests that can share it."""

from __future__ import annotations

import re

from include.settings import REPOSITORY
from tests.conftest import LONGEST_FIRST

E2E = REPOSITORY / "tests" / "e2e"


def test_the_files_that_are_started_first_are_there() -> None:
    assert [name for name in LONGEST_FIRST if not (REPOSITORY / "tests" / name).exists()] == []


def test_every_end_to_end_test_is_slow_so_that_no_other_run_starts_a_stack() -> None:
    files = list(E2E.rglob("test_*.py"))
    assert len(files) > 5
    assert [
        str(file) for file in files if not re.search(r"pytestmark = .*pytest\.mark\.slow", file.read_text(), re.S)
    ] == []


def test_no_test_that_shares_the_stack_starts_one() -> None:
    starts = re.compile(r"started_stack|\bStack\(|subprocess\.Popen")
    assert [file.name for file in E2E.glob("test_*.py") if starts.search(file.read_text())] == []
