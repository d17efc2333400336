"""What runs leave behind is removed when it is old, and not before."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

from include.steps.housekeeping import remove_old_work

NOW = datetime(2026, 3, 1, tzinfo=UTC)
KEEP = timedelta(days=14)


def work_of(home: Path, run: str, age: timedelta) -> Path:
    folder = home / "iris" / run
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(b"")
    then = (NOW - age).timestamp()
    os.utime(folder / "model.onnx", (then, then))
    os.utime(folder, (then, then))
    return folder


def test_the_work_of_old_runs_goes_and_of_young_ones_stays(tmp_path: Path) -> None:
    old, young = work_of(tmp_path, "old", timedelta(days=15)), work_of(tmp_path, "young", timedelta(days=13))
    assert remove_old_work(tmp_path, KEEP, NOW) == 1
    assert not old.exists()
    assert young.exists()


def test_an_old_folder_with_a_young_file_is_still_in_use(tmp_path: Path) -> None:
    folder = work_of(tmp_path, "long", timedelta(days=20))
    then = (NOW - timedelta(hours=1)).timestamp()
    os.utime(folder / "model.onnx", (then, then))
    assert remove_old_work(tmp_path, KEEP, NOW) == 0


def test_a_work_folder_that_was_never_made_holds_nothing_old(tmp_path: Path) -> None:
    assert remove_old_work(tmp_path / "none", KEEP, NOW) == 0
