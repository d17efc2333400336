"""How a command ends when the database is down, nobody reads its output, or it is interrupted: in a real process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from sqlalchemy import Engine, make_url, text

from include.settings import REPOSITORY

COMMANDS = {
    "migrate": ["migrate"],
    "new": ["new", "churn"],
    "load-samples": ["load-samples"],
    "psql": ["psql", "-c", "SELECT 1"],
    "train": ["train", "parcels"],
    "score": ["score", "parcels"],
    "backfill": ["backfill", "parcels", "--from", "2026-02-20", "--to", "2026-02-21"],
    "drop-partition": ["drop-partition", "parcels", "--partition", "2026-02-20", "--reason", "to see what happens"],
    "promote": ["promote", "parcels", "1", "--reason", "to see what happens"],
    "approve": ["approve", "parcels", "1", "--comment", "seen on the card"],
    "shadow": ["shadow", "set", "parcels", "1"],
    "rollback": ["rollback", "parcels", "--reason", "to see what happens"],
    "history": ["history", "parcels"],
    "status": ["status"],
    "versions": ["versions", "parcels"],
    "card": ["card", "parcels"],
    "verify": ["verify", "parcels", "1"],
    "explain-promotion": ["explain-promotion", "parcels", "1"],
    "ml-test-score": ["ml-test-score", "parcels"],
    "attest": ["attest", "parcels", "model-3", "--statement", "done on Monday"],
}
SLEEPS = text("SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(60)' AND state = 'active'")
PASSWORD = "not-to-be-shown"  # noqa: S105  # nobody has it


def environment(**more: str) -> dict[str, str]:
    path = os.pathsep.join((str(REPOSITORY), str(REPOSITORY / "plugins")))
    return {**os.environ, "PYTHONPATH": path, **more}


@pytest.fixture(params=["buffered", "unbuffered"])
def buffering(request, shell) -> dict[str, str]:
    """The same environment, once with each way in which Python may write."""
    return shell | {"PYTHONUNBUFFERED": "1" if request.param == "unbuffered" else ""}


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "include.cli", *words]


@pytest.fixture
def shell(sluice, tmp_path, database_url):
    """Environment of a shell in which `sluice` works."""
    return environment(
        SLUICE_DATABASE_URL=database_url,
        SLUICE_HOME=str(tmp_path / "home"),
        SLUICE_MODELS_DIR=str(tmp_path / "models"),
    )


@pytest.mark.parametrize("name", COMMANDS)
def test_without_a_database_every_command_answers_in_one_sentence(sluice, monkeypatch, name: str) -> None:
    monkeypatch.setenv("SLUICE_DATABASE_URL", f"postgresql://ann:{PASSWORD}@127.0.0.1:1/sluice")
    code, _, said = sluice(*COMMANDS[name])
    assert code == 4
    if name == "psql":  # it writes its own sentence, past Python's standard error
        return
    assert "Connection refused" in said
    assert PASSWORD not in said
    assert "Traceback" not in said
    assert len(said.splitlines()) <= 3
    if name not in ("train", "score", "backfill"):  # these have words of their own
        assert "postgresql://ann:***@127.0.0.1:1/sluice" in said
        assert "SLUICE_DATABASE_URL" in said


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"host": "no-such-host.invalid"}, "no-such-host.invalid"),
        ({"password": PASSWORD}, "password authentication failed"),
        ({"database": "no_such_database"}, 'database "no_such_database" does not exist'),
    ],
    ids=["host", "password", "database"],
)
def test_what_postgresql_says_is_in_the_sentence(
    sluice, monkeypatch, database_url, change: dict[str, str], found: str
) -> None:
    url = make_url(database_url).set(**change).render_as_string(hide_password=False)
    monkeypatch.setenv("SLUICE_DATABASE_URL", url)
    code, _, complained = sluice("status")
    assert code == 4
    assert found in complained
    assert PASSWORD not in complained
    assert len(complained.splitlines()) == 1


def test_a_database_that_was_never_migrated_names_the_command(sluice, monkeypatch, server_url: str) -> None:
    monkeypatch.setenv("SLUICE_DATABASE_URL", server_url.rsplit("/", 1)[0] + "/postgres")
    code, _, complained = sluice("status")
    assert code == 1
    assert 'relation "sluice.promotion" does not exist' in complained
    assert "Run `sluice migrate`" in complained
    assert len(complained.splitlines()) == 1


@pytest.mark.parametrize("words", [["--help"], ["status"], ["history", "parcels"]], ids=" ".join)
def test_a_command_whose_reader_has_left_ends_quietly(buffering, words: list[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(command(*words), stdout=writer, stderr=subprocess.PIPE, env=buffering, text=True, check=False)
    os.close(writer)
    assert done.returncode == 141
    assert done.stderr == ""


def test_a_command_whose_errors_nobody_reads_ends_quietly(buffering) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        command("train", "parsels"), stdout=subprocess.PIPE, stderr=writer, env=buffering, text=True, check=False
    )
    os.close(writer)
    assert done.returncode == 141


def test_a_full_disk_behind_the_output_is_named(buffering) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            command("status"), stdout=full, stderr=subprocess.PIPE, env=buffering, text=True, check=False
        )
    assert done.returncode == 1
    assert "found: No space left on device" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_closed_output_is_no_error(shell) -> None:
    words = " ".join(command("status"))
    done = subprocess.run(["sh", "-c", f"{words} >&-"], stderr=subprocess.PIPE, env=shell, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("delay", [0.2, 1.2, *(pytest.param(each, marks=pytest.mark.slow) for each in (0.6, 2.5, 4.0))])
def test_ctrl_c_is_quiet_whenever_it_comes(shell, delay: float) -> None:
    with subprocess.Popen(
        command("train", "parcels"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=shell,
        text=True,
        start_new_session=True,
        # A shell that runs the tests in the background has them ignore SIGINT, which children inherit.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        time.sleep(delay)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        _, complained = process.communicate(timeout=60)
    # The signal itself ends it before Python has set its handler, and after it has removed it at the end.
    assert process.returncode in (130, -signal.SIGINT)
    assert "Traceback" not in complained
    assert len(complained.splitlines()) <= 1


INTERRUPTED_IMPORT = """
import os, signal, sys
sys.path.insert(0, "")
open("module.py", "w").write("import os, signal; os.kill(os.getpid(), signal.SIGINT); sum(range(10)); done = True")
from include.cli.exit_status import exit_status_of

def run():
    import module
    assert module.done
    print("imported", flush=True)
    while True:
        sum(range(10))

sys.exit(exit_status_of(run))
"""


def test_ctrl_c_waits_until_a_module_is_imported(tmp_path: Path) -> None:
    """An interrupt within an import became a traceback of pydantic or pandas, or a crash of onnx."""
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED_IMPORT],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert (done.returncode, done.stdout) == (130, "imported\n")
    assert len(done.stderr.splitlines()) == 1


def test_ctrl_c_in_psql_interrupts_the_statement_only(shell, engine: Engine) -> None:
    with subprocess.Popen(
        command("psql", "-c", "SELECT pg_sleep(60)"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=shell,
        text=True,
        start_new_session=True,
    ) as process:
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            while not connection.execute(SLEEPS).scalar_one():  # a transaction would see the same answer again
                time.sleep(0.1)
        os.killpg(process.pid, signal.SIGINT)
        _, complained = process.communicate(timeout=50)
    assert process.returncode == 1  # that of psql
    assert "canceling statement due to user request" in complained
    assert "Traceback" not in complained


def test_a_promotion_of_the_champion_records_its_reason(sluice) -> None:
    assert sluice("train", "parcels", "--as-of", "2026-03-02")[0] in (0, 3)
    assert sluice("promote", "parcels", "1", "--reason", "the first one")[0] == 0
    code, said, _ = sluice("promote", "parcels", "1", "--reason", "checked after the incident")
    assert code == 0
    assert "as before; the reason is recorded" in said
    _, said, _ = sluice("history", "parcels")
    before = len(said.splitlines())
    assert "checked after the incident" in said
    sluice("promote", "parcels", "1", "--reason", "checked after the incident")
    assert len(sluice("history", "parcels")[1].splitlines()) == before, "the same decision repeated is recorded once"
