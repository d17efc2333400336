"""``sluice migrate``: the one-shot step of a deployment."""

from __future__ import annotations

import subprocess
import sys

import psycopg
import pytest

from include.cli import main


def test_migrate_makes_the_schemas_and_may_be_run_again(
    server_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE never_migrated")
    url = server_url.rsplit("/", 1)[0] + "/never_migrated"
    monkeypatch.setenv("SLUICE_DATABASE_URL", url)
    for _ in range(2):
        assert main(["migrate"]) == 0
        assert "up to date" in capsys.readouterr().out
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT count(*) FROM sluice.champion").fetchone() == (0,)


def test_migrate_says_what_to_do_when_the_database_does_not_answer(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SLUICE_DATABASE_URL", "postgresql://nobody:pass@127.0.0.1:1/sluice")
    assert main(["migrate"]) == 4
    complained = capsys.readouterr().err
    assert "does not answer" in complained
    assert "pass@" not in complained


def test_the_command_line_is_a_module_too() -> None:
    done = subprocess.run([sys.executable, "-m", "include.cli", "--help"], capture_output=True, text=True, check=True)
    assert "migrate" in done.stdout
