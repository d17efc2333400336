"""The folder in which the workers share their metrics, and its clean-up.

Prometheus's client keeps one memory-mapped file per process and type of metric; any worker can add them up. Counters
of dead workers remain valid; their gauges do not.
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
    """Create an empty folder and make Prometheus's client use it. Call it before that is imported.

    If the home is not writable, as in the image, it is a temporary folder.
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
    """Remove the gauges of processes that no longer exist."""
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
