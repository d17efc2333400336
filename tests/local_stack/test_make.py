"""What stands behind make: `clean` removes only what it made, `setup` finds a Python or says what to do."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from include.settings import REPOSITORY

MADE = (
    ".sluice/postgres/data/PG_VERSION",
    ".pytest_cache/x",
    ".mypy_cache/x",
    ".ruff_cache/x",
    ".hypothesis/x",
    "sluice.egg-info/PKG-INFO",
    "include/__pycache__/a.pyc",
    "deploy/local_stack/__pycache__/a.pyc",
    "dags/__pycache__/a.pyc",
    "tests/local_stack/__pycache__/a.pyc",
)
OURS = (
    "include/a.py",
    "include/models/mine/spec.py",
    "dags/mine.py",
    "notes.txt",
    "__pycache__/of somebody else.pyc",
    "data/.sluice/kept",
    "mine/__pycache__/a.pyc",
)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    root = tmp_path / "a checkout with spaces"
    (root / "deploy").mkdir(parents=True)
    shutil.copytree(REPOSITORY / "deploy" / "bootstrap", root / "deploy" / "bootstrap")
    for name in ("Makefile", "pyproject.toml", "requirements.txt"):
        shutil.copy(REPOSITORY / name, root / name)
    return root


def make(checkout: Path, *arguments: str, path: str | None = None) -> subprocess.CompletedProcess[str]:
    outer = ("MAKE", "MFLAGS", "EXTRAS", "SLUICE_")  # of the make that runs these tests
    environment = {name: value for name, value in os.environ.items() if not name.startswith(outer)}
    environment |= {"PATH": path} if path else {}
    command = [str(shutil.which("make")), *arguments]
    return subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True, check=False)


def write(checkout: Path, names: tuple[str, ...]) -> None:
    for name in names:
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        (checkout / name).write_text("content")


def files(checkout: Path) -> set[str]:
    return {str(path.relative_to(checkout)) for path in checkout.rglob("*") if path.is_file()}


def test_make_alone_lists_what_it_can_do(checkout: Path) -> None:
    told = make(checkout).stdout
    for target in ("run", "test", "test-all", "bench", "lint", "lock", "clean"):
        assert f"make {target} " in told


def test_clean_removes_what_make_made_and_nothing_else(checkout: Path) -> None:
    before = files(checkout)
    write(checkout, (*MADE, *OURS, ".venv/.sluice-made-this", ".venv/bin/something"))
    done = make(checkout, "clean")
    assert done.returncode == 0, done.stderr
    assert files(checkout) == before | set(OURS)


def test_clean_keeps_a_venv_that_make_did_not_make(checkout: Path) -> None:
    write(checkout, (".venv/pyvenv.cfg",))
    assert "kept .venv" in make(checkout, "clean").stdout
    assert (checkout / ".venv/pyvenv.cfg").exists()


def test_clean_removes_nothing_while_a_process_that_it_cannot_stop_runs(checkout: Path) -> None:
    write(checkout, MADE)
    (checkout / ".sluice/postgres/data/postmaster.pid").write_text(f"{os.getpid()}\n/data\n")
    done = make(checkout, "clean")
    assert done.returncode != 0
    assert f"process {os.getpid()}" in done.stderr
    assert set(MADE) < files(checkout)


def test_clean_of_a_clean_checkout_is_fine(checkout: Path) -> None:
    before = files(checkout)
    assert make(checkout, "clean").returncode == 0
    assert files(checkout) == before


def test_without_a_fitting_python_setup_says_which_it_wants_and_what_to_do(checkout: Path, tmp_path: Path) -> None:
    old = tmp_path / "python2"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    done = make(checkout, "setup", f"PYTHON={old}")
    assert done.returncode != 0
    assert "expected Python 3.11, 3.12 or 3.13" in done.stderr
    assert "make run PYTHON=" in done.stderr


def test_setup_has_nothing_to_do_when_the_environment_is_as_the_requirements_say(checkout: Path) -> None:
    write(checkout, (".venv/.sluice-made-this",))
    (checkout / ".venv/bin").mkdir(parents=True)
    (checkout / ".venv/bin/python").symlink_to(sys.executable)
    pins = ("pyproject.toml", "requirements.txt", "deploy/bootstrap/requirements.txt")
    sums = subprocess.run(["cksum", *pins], cwd=checkout, capture_output=True, text=True, check=True).stdout
    (checkout / ".venv/.sluice-setup").write_text(f"{checkout.resolve()}\n{sums}")
    done = make(checkout, "setup")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_an_environment_that_somebody_else_made_and_that_does_not_work_is_not_overwritten(checkout: Path) -> None:
    write(checkout, (".venv/pyvenv.cfg",))
    done = make(checkout, "setup")
    assert done.returncode != 0
    assert "move it away" in done.stderr
    assert (checkout / ".venv/pyvenv.cfg").read_text() == "content"
