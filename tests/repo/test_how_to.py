"""Every command of the documentation is run: those of the how-tos and of the reference here, others where it says.

These pages speak of the models churn, parcels, late and iris. They are made first, with three versions of churn, whose
newest one stands for version 7 of the pages.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest

from tests.repo.console import commands
from tests.repo.page import BLOCK, REPOSITORY, Reader
from tests.repo.tree import tracked

FOLLOWED: Final = {  # page: the test that follows it whole
    "docs/tutorial.md": "tests/repo/test_tutorial.py",
    "docs/first-hour.md": "tests/repo/test_first_hour.py",
    "docs/a-month.md": "tests/repo/test_a_month.py",
}
BY_HAND: Final = "nothing: by hand, as it says below"
ELSEWHERE: Final = {  # beginning of a command: what runs it
    "make run": ".ci/run",
    "make test": ".ci/run",
    "make distributed": "tests/e2e/private/test_distributed.py",
    ". .venv/bin/activate": "tests/repo/page.py",
    "sluice new churn": "tests/repo/test_tutorial.py",
    "sluice train churn": "tests/repo/test_tutorial.py",
    "sluice score churn": "tests/repo/test_tutorial.py",
    "sluice status": "tests/repo/test_tutorial.py",
    # These ends are over one day.
    "sluice hold churn --until": "tests/cli/test_hold.py",
    "sluice hold iris --until": "tests/cli/test_hold.py",
    "sluice alerts": "tests/cli/test_alerts.py",
    "sluice watch": "tests/watching/test_watcher.py",
    # Two people: a test has one.
    "sluice approve churn": "tests/cli/test_approve.py",
    'sluice promote churn 7 --reason "approved by ann"': "tests/cli/test_approve.py",
    "curl http://127.0.0.1:8090": "tests/e2e/test_stack_reference.py",
    "curl 'http://127.0.0.1:8090": "tests/e2e/test_stack_reference.py",
    "curl -X DELETE": "tests/e2e/test_stack_reference.py",
    "curl -H": "tests/cli/test_token.py",
    "export SLUICE_AUTH_SECRET": "tests/cli/test_token.py",
    "SLUICE_SERVICE_PINNED_VERSIONS=": "tests/model_service/test_pinned.py",
    "sluice delete parcels": "tests/test_deletion.py",
    "sluice backfill flight_delay": "tests/test_backfill.py",
    "deploy/compose/new-env.sh": "tests/repo/test_deployment.py",
    # With other ports, and shorter windows.
    "prometheus --config.file=": "tests/deploy/test_alerts.py",
    "prometheus-alertmanager --config.file=": "tests/deploy/test_alerts.py",
    "promtool ": "tests/deploy/test_prometheus.py",
    "amtool check-config": "tests/deploy/test_prometheus.py",
    # An engine of containers is needed.
    "docker compose": BY_HAND,
    "export COMPOSE_ENV_FILES": BY_HAND,
    # They would change this checkout, and fetch the newest version of each package.
    "mkdir deploy/extras": BY_HAND,
    "printf -- '-c ../../../requirements.txt": BY_HAND,
    "make lock": BY_HAND,
}
RUN_HERE: Final = [
    *sorted((REPOSITORY / "docs" / "how-to").glob("*.md")),
    REPOSITORY / "docs" / "reference" / "cli.md",  # the answers that it shows are those of other days
]
ORDERS: Final = (
    "CREATE SCHEMA shop; CREATE TABLE shop.orders AS SELECT row_key, observed_at, amount, channel, "
    "returning_customer, outcome AS cancelled FROM source.churn"
)


def is_run_elsewhere(command: str) -> bool:
    return any(command.startswith(beginning) for beginning in ELSEWHERE)


@pytest.mark.parametrize("page", tracked("*.md"), ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_every_command_stands_in_a_block_that_is_run(page: Path) -> None:
    text, name = page.read_text(encoding="utf-8"), str(page.relative_to(REPOSITORY))
    hidden = [
        line
        for _, _, kind, block in BLOCK.findall(text.replace("```\n", "```text\n"))
        for line in block.splitlines()
        # The reference has the synopsis of each command, too.
        if kind != "console" and re.match(r"\w*\$ " if name.endswith("cli.md") else r"(?:\w*\$ )?(sluice|make) ", line)
    ]
    assert hidden == [], "a command belongs into a block of `console`, behind a dollar sign"
    if name not in FOLLOWED and page not in RUN_HERE:
        assert [command for command, _ in commands(text) if not is_run_elsewhere(command)] == []


@pytest.mark.parametrize("place", sorted({*FOLLOWED.values(), *ELSEWHERE.values()} - {BY_HAND}))
def test_the_places_where_commands_are_run_exist(place: str) -> None:
    assert (REPOSITORY / place).is_file()


@pytest.mark.parametrize("page", tracked("*.md"), ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_every_target_of_make_is_understood_with_its_variables(page: Path) -> None:
    for command, _ in commands(page.read_text(encoding="utf-8")):
        if command.startswith("make "):
            dry = command.replace("make", "make --dry-run", 1)
            done = subprocess.run(["bash", "-c", dry], cwd=REPOSITORY, capture_output=True, text=True, check=False)
            assert (done.returncode, done.stderr) == (0, ""), command
            for extra in re.findall(r'EXTRAS="?([a-z ]+)', command):
                assert all(f"deploy/extras/{each}/requirements.txt" in done.stdout for each in extra.split())


@pytest.fixture
def reader(database_url: str, tmp_path: Path) -> Reader:
    """A reader who has the models of the how-tos, a table of orders, and the file of the penguins."""
    reader = Reader(tmp_path, database_url)
    shutil.copytree(REPOSITORY / "include" / "models" / "iris", reader.models / "iris")
    for command in (
        "sluice new churn",
        "sluice train churn",
        "sluice train churn --again --no-promote",
        'sluice promote churn 2 --reason "so that there is one to roll back to"',
        "sluice train churn --again --no-promote",
        "sluice score churn",
        "sluice new parcels",
        "sluice train parcels",
        "sluice score parcels",
        "sluice load-samples",
        f'sluice psql -c "{ORDERS}" -c "CREATE SCHEMA lake"',
        "sluice train iris",
        "sluice train iris --again",
        "sluice score iris",
        "cp docs/data/penguins.csv .",
    ):
        reader.run(command)
    first_hour = (REPOSITORY / "docs" / "first-hour.md").read_text(encoding="utf-8")
    (section,) = re.findall(r"^## 4\..*?(?=^## 5\.)", first_hour, re.DOTALL | re.MULTILINE)
    (tmp_path / "late.md").write_text(section)
    reader.follow(tmp_path / "late.md")
    assert reader.failures == []
    return reader


@pytest.mark.slow  # some fifty commands, each a process of its own
def test_every_command_of_the_how_tos_and_of_the_reference_succeeds(reader: Reader) -> None:
    for page in RUN_HERE:
        for command, shown in commands(page.read_text(encoding="utf-8")):
            if not is_run_elsewhere(command):
                compared = shown and page.name != "cli.md"
                reader.run(command.replace("churn 7", "churn 3"), shown if compared else "...")
    assert reader.failures == [1]  # of `sluice history iris --at TIME`: this iris had no champion at that time
