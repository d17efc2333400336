"""What runs leave behind, removed when nobody can need it any more."""

from __future__ import annotations

import logging
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

log = logging.getLogger(__name__)


def remove_old_work(work_dir: Path, keep: timedelta, now: datetime) -> int:
    """Remove the folders ``<work_dir>/<model>/<run>/`` in which nothing changed for `keep`.

    What a version needs for good was copied into the artifact store when it was registered.

    Parameters
    ----------
    keep : timedelta
        Longer than any run may take, so that a folder this old belongs to a finished run.

    Returns
    -------
    int
        How many folders were removed.
    """
    old = [run for run in sorted(work_dir.glob("*/*/")) if now - _last_change(run) > keep]
    for run in old:
        log.info("removing the work folder %s", run)
        shutil.rmtree(run)
    return len(old)


def _last_change(folder: Path) -> datetime:
    newest = max(path.stat().st_mtime for path in (folder, *folder.rglob("*")))
    return datetime.fromtimestamp(newest, UTC)
