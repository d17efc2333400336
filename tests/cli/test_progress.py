"""What a running command shows: one updated line on a terminal; whole lines, and few, everywhere else."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import threading
from pathlib import Path

import pytest

from include.cli.progress import StepDisplay
from include.errors import SluiceError
from tests.builders import TODAY
from tests.cli.test_endings import command, environment


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_quick_step_has_one_line_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    display = StepDisplay(clock=clock)
    with display.step("train"):
        display.report("trees", 10, 200)
        clock.now = 3.94
    with display.step("score", lasting=False):
        pass
    assert capsys.readouterr().out == "train     … 3.9 s\n"


def test_a_slow_step_says_how_far_it_is_in_whole_lines(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    display = StepDisplay(heartbeat=0.01, clock=clock)
    with display.step("snapshot"):
        display.report("rows read", 20_000)
        clock.now = 12.3
        said = threading.Event()
        written = ""
        while "20,000" not in written:
            said.wait(0.01)
            written += capsys.readouterr().out
    written += capsys.readouterr().out
    assert "snapshot  … 12 s  20,000 rows read\n" in written
    assert written.endswith("snapshot  … 12.3 s\n")
    assert re.fullmatch(r"(snapshot  … [^\n\r\x1b]+\n)+", written)


def test_a_failed_and_an_interrupted_step_say_so(capsys: pytest.CaptureFixture[str]) -> None:
    display = StepDisplay(clock=Clock())
    for error in (SluiceError("no rows"), KeyboardInterrupt()):
        with pytest.raises(type(error)), display.step("gate"):
            raise error
    assert capsys.readouterr().out == "gate      … failed after 0.0 s\ngate      … interrupted after 0.0 s\n"


@pytest.fixture
def shell(sluice, tmp_path: Path, database_url: str) -> dict[str, str]:
    return environment(
        SLUICE_DATABASE_URL=database_url,
        SLUICE_HOME=str(tmp_path / "home"),
        SLUICE_MODELS_DIR=str(tmp_path / "models"),
        FORCE_COLOR="1",
    )


def on_terminal(words: list[str], shell: dict[str, str], interrupt_at: str = "") -> tuple[int, str]:
    """Run a command on a pseudo-terminal; return its exit status and everything that the terminal got."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        command(*words), stdin=theirs, stdout=theirs, stderr=theirs, env=shell | {"TERM": "xterm", "COLUMNS": "100"},
        start_new_session=True, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    os.close(theirs)
    said = ""
    with os.fdopen(ours, "rb", buffering=0) as terminal:
        while True:
            try:
                part = terminal.read(4096)
            except OSError:  # the other end is closed
                break
            if not part:
                break
            said += part.decode(errors="replace")
            if interrupt_at and interrupt_at in said:
                os.killpg(process.pid, signal.SIGINT)
                interrupt_at = ""
    return process.wait(60), said


@pytest.mark.slow  # a whole training in a process of its own, three times
def test_a_training_on_a_terminal_a_pipe_and_interrupted(shell: dict[str, str]) -> None:
    words = ["train", "parcels", "--as-of", TODAY.isoformat(), "--again"]
    done = subprocess.run(command(*words), env=shell, capture_output=True, text=True, check=False, timeout=300)
    assert (done.returncode, done.stderr) == (0, "")
    assert not re.search(r"[\x1b\r]", done.stdout)
    assert done.stdout.splitlines()[-1] == "Next: sluice score parcels"
    assert done.stdout.splitlines()[-2].endswith("artifacts/parcels/1/card.html")

    code, said = on_terminal(words, shell)
    assert code == 0
    assert re.search(r"rehearse  … \d+ s", said), "the running step is shown"
    assert "\x1b[?25h" in said, "the cursor is back"
    assert re.search(r"\nrehearse  … \d+\.\d s\r\n", said.replace("\x1b[2K", "").replace("\r\x1b[1A", "\n")), said

    code, said = on_terminal(words, shell, interrupt_at="rehearse  … 1 s")
    assert code == 130
    assert said.rindex("\x1b[?25h") > said.rindex("\x1b[?25l"), "the cursor is back"
    assert said.rstrip().endswith("sluice: interrupted; no partial result was published")
    assert "Traceback" not in said


def test_a_range_goes_on_after_an_empty_day(sluice) -> None:
    assert sluice("train", "parcels", "--as-of", TODAY.isoformat())[0] == 0
    assert sluice("psql", "-c", "DELETE FROM source.parcels WHERE sent_at::date = '2026-02-21'")[0] == 0
    code, said, complained = sluice("score", "parcels", "--partition", "2026-02-20", "--to", "2026-02-22")
    assert code == 1
    published = [line for line in said.splitlines() if "rows published" in line]
    assert [line.split(":")[0] for line in published] == ["parcels 2026-02-20", "parcels 2026-02-22"]
    assert "score of 'parcels': 1 of 3 partitions failed: 2026-02-21T00:00. The reasons are above" in complained
    assert "found none in the source" in complained.splitlines()[0]
    code, _, complained = sluice("score", "parcels", "--to", "2026-02-22")
    assert code == 1
    assert "--to: expected --partition DATE beside it" in complained
    code, said, _ = sluice("score", "parcels", "--partition", "2026-02-20")
    assert code == 0
    assert said.splitlines()[-1] == 'Next: sluice psql -c "SELECT * FROM scores.parcels_latest LIMIT 10"'
