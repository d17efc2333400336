"""Rules that no linter knows: DAG files are wiring, nothing is left over, no path of a machine, no registry."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from include.settings import REPOSITORY
from tests.repo.tree import tracked

PINS = (
    "requirements.txt",
    "tests/requirements.txt",
    "model_service/requirements.txt",
    "deploy/bootstrap/requirements.txt",
    "deploy/helm/requirements.txt",
    "deploy/extras/boosters/requirements.txt",
)

# Patterns are written so that they do not match themselves.
LEFT_OVER = re.compile(r"\b(TO{1}DO|FI{1}XME|XX{2})\b")
MACHINE_PATH = re.compile(r"(?<![\w.])/(?:work|workspace|root|home|Users|mnt)/[a-z]")
REGISTRY = re.compile(
    r"(?:py(?:pi)\.org|python(?:hosted)\.org|registry\.(?:npmjs|yarnpkg)|pkg\.(?:dev)\b|deb\.(?:debian)\.org"
    r"|proxy\.(?:golang)\.org|artifact(?:ory)|artifact-(?:registry))"
)
INDEX = re.compile(r"--(?:extra-)?index-url|--find-links|--trusted-host|https?://|file://")


def lines_matching(pattern: re.Pattern[str], files: list[Path]) -> list[str]:
    return [
        f"{file.relative_to(REPOSITORY)}:{number}: {line.strip()[:100]}"
        for file in files
        for number, line in enumerate(file.read_text(encoding="utf-8", errors="replace").splitlines(), 1)
        if pattern.search(line)
    ]


def test_a_dag_file_is_wiring_only() -> None:
    lengths = {str(file.relative_to(REPOSITORY)): file.read_text().count("\n") for file in tracked("dags/*.py")}
    assert lengths
    assert {name: length for name, length in lengths.items() if length >= 100} == {}


def test_nothing_is_left_to_do_in_the_tree() -> None:
    assert lines_matching(LEFT_OVER, tracked()) == []


def test_the_tree_names_no_path_of_a_machine() -> None:
    assert lines_matching(MACHINE_PATH, tracked()) == []


def test_the_tree_names_no_package_registry() -> None:
    assert lines_matching(REGISTRY, tracked()) == []


@pytest.mark.parametrize("name", PINS)
def test_every_pin_has_hashes_and_no_address(name: str) -> None:
    content = (REPOSITORY / name).read_text()
    assert [
        line for line in content.splitlines() if INDEX.search(line) and not line.lstrip().startswith("#    uv")
    ] == []
    pins = re.split(r"^(?=[a-z0-9])", content, flags=re.MULTILINE | re.IGNORECASE)[1:]
    assert pins
    assert [pin.splitlines()[0] for pin in pins if "--hash=sha256:" not in pin or "==" not in pin.splitlines()[0]] == []


def test_the_patterns_find_what_they_are_for(tmp_path: Path) -> None:
    sample = tmp_path / "sample"
    sample.write_text(
        "\n".join(["# TO" + "DO later", "cd /ro" + "ot/x", "https://py" + "pi.org/simple", "a /rooted/ tree"])
    )
    found = [bool(lines_matching_in(sample, each)) for each in (LEFT_OVER, MACHINE_PATH, REGISTRY)]
    assert found == [True, True, True]
    assert not MACHINE_PATH.search("a /rooted/ tree, ./home/x, include/home/x")


def lines_matching_in(file: Path, pattern: re.Pattern[str]) -> list[str]:
    return [line for line in file.read_text().splitlines() if pattern.search(line)]
