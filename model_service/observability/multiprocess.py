"""The folder in which the workers share their metrics, and what dead ones leave there.

Prometheus's client keeps a file a process and a kind, mapped into memory; whichever worker is asked
adds them up. RequestStats of the dead count on; their levels don't.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from pathlib import Path

from include.settings import Settings, set_for_libraries

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
_LIVE_GAUGE = re.compile(r"gauge_live\w+_(\d+)\.db")


def prepare_multiprocess_dir(settings: Settings) -> Path:
    """Make the folder anew and have Prometheus's client use it. Call it before that is imported.

    A home that cannot be written, as in the image, gets a temporary folder instead.
    """
    folder = settings.home / "metrics" / str(settings.service_port)
    try:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    except OSError:
        folder = Path(tempfile.mkdtemp(prefix="sluice-metrics-"))
    set_for_libraries(VARIABLE, str(folder))
    return folder


def remove_dead_workers(folder: Path) -> None:
    """Remove the levels of processes that are no more."""
    for file in folder.glob("gauge_live*.db"):
        found = _LIVE_GAUGE.fullmatch(file.name)
        if found and not _alive(int(found[1])):
            file.unlink(missing_ok=True)


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
