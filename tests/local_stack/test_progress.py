"""Who waits for the start sees what is running, for how long, and what is next: on a terminal, in a pipe and in CI."""

from __future__ import annotations

import io
import os
import re
import time

import pytest

from deploy.local_stack.progress import ProgressReporter

ERASE_LINE = "\x1b[2K"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def lines(out: io.StringIO) -> list[str]:
    """The lines without the time since the start."""
    return [re.sub(r"^ *\d+:\d\d\.\d +", "", line) for line in out.getvalue().splitlines()]


def test_every_step_has_a_line_when_it_starts_and_one_when_it_ends() -> None:
    out = io.StringIO()
    progress = ProgressReporter(out)
    progress.plan(["make dough", "bake"])
    progress.start("make dough")
    progress.finish("make dough", "done", "1 kg")
    progress.start("bake")
    progress.finish("bake", "skipped")
    assert lines(out) == [
        "...     make dough",
        "1/2  done    make dough (0.0 s): 1 kg",
        "...     bake",
        "2/2  skipped bake (0.0 s)",
    ]


@pytest.mark.parametrize("variable", ["FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"])
def test_off_a_terminal_a_long_step_is_printed_with_its_note_and_what_is_next_and_no_control_character(
    monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, "1")
    out = io.StringIO()
    progress = ProgressReporter(out, heartbeat=0.1)
    progress.plan(["knead", "bake"])
    with progress.live():
        progress.start("knead")
        progress.note("knead", "half done")
        time.sleep(0.4)
    running = [line for line in lines(out) if line.startswith("running")]
    assert len(running) >= 2
    assert running[0] == "running knead 0 s (half done); next: bake"
    assert out.getvalue().replace("\n", "").isprintable()


def test_on_a_terminal_the_running_steps_are_shown_and_erased_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    out = Terminal()
    progress = ProgressReporter(out)
    progress.plan(["knead"])
    with progress.live():
        progress.start("knead")
        progress.note("knead", "half done" + " and more" * 20)
        time.sleep(0.7)
    shown, _, rest = out.getvalue().rpartition("half done and more")
    assert re.search(r"knead \d s  $", shown), "a long note is cut, the title is not"
    assert ERASE_LINE in rest
    assert "running" not in out.getvalue()


@pytest.mark.parametrize("stream", [io.StringIO, Terminal])
def test_a_long_line_can_be_copied_it_is_neither_wrapped_nor_cut_nor_interpreted(stream: type[io.StringIO]) -> None:
    out = stream()
    command = "psql 'postgresql://sluice:s&cret@127.0.0.1:5/sluice' -c 'SELECT [bold] :smile: 1'" + " x" * 200
    ProgressReporter(out).text(command)
    assert out.getvalue() == command + "\n"


def test_a_closed_stream_does_not_end_the_program() -> None:
    out = io.StringIO()
    progress = ProgressReporter(out)
    out.close()
    progress.line("anybody there?")


def test_a_reader_that_has_gone_does_not_end_the_program() -> None:
    reader, writer = os.pipe()
    out = os.fdopen(writer, "w", encoding="utf-8")
    progress = ProgressReporter(out)
    os.close(reader)
    progress.line("anybody there?")
    progress.line("nobody.")
    out.close()
