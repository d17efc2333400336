"""Somebody who waits sees what runs, for how long, and what is next; on a terminal and off it."""

from __future__ import annotations

import io
import re
import time

from deploy.local_stack.progress import ProgressReporter


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_every_step_has_a_line_when_it_begins_and_one_when_it_ends() -> None:
    out = io.StringIO()
    progress = ProgressReporter(out)
    progress.plan(["make dough", "bake"])
    progress.began("make dough")
    progress.ended("make dough", "done", "1 kg")
    progress.began("bake")
    progress.ended("bake", "kept", "")
    told = [re.sub(r"^ *\d+:\d\d\.\d +", "", line) for line in out.getvalue().splitlines()]
    assert told == [
        "...     make dough",
        "1/2  done    make dough (0.0 s): 1 kg",
        "...     bake",
        "2/2  kept    bake (0.0 s)",
    ]


def test_off_a_terminal_a_long_step_gives_a_sign_of_life_with_its_note_and_what_is_next() -> None:
    out = io.StringIO()
    progress = ProgressReporter(out, heartbeat=0.1)
    progress.plan(["knead", "bake"])
    with progress.ticking():
        progress.began("knead")
        progress.note("knead", "half done")
        time.sleep(0.4)
    signs = [line for line in out.getvalue().splitlines() if "still" in line]
    assert len(signs) >= 2
    assert "knead 0 s (half done); next: bake" in signs[0]
    assert "\r" not in out.getvalue()


def test_on_a_terminal_one_line_is_drawn_again_and_erased_in_the_end() -> None:
    out = Terminal()
    progress = ProgressReporter(out)
    progress.plan(["knead"])
    with progress.ticking():
        progress.began("knead")
        progress.note("knead", "half done")
        time.sleep(0.7)
    assert "half done" in out.getvalue()
    assert out.getvalue().endswith("\r\x1b[K")
    assert "still" not in out.getvalue()


def test_a_reader_that_went_away_does_not_stop_us() -> None:
    out = io.StringIO()
    progress = ProgressReporter(out)
    out.close()
    progress.line("anybody there?")
