"""Alerts that could not be stored: files, one for each, until the database takes them.

What has been spooled survives a crash of the machine. A file's name is the alert's id in the database, so that an alert
which was carried over, but whose file a crash has kept, is not stored twice.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from include.records import Alert
from include.records.base import Record

MAX_FILES = 10_000


class SpooledAlert(Record):
    """An alert, and which channels were told of it directly.

    Attributes
    ----------
    id : str
        Also the id of the messages.
    channels : tuple of str
        Of the model, beside the default one.
    delivered : tuple of str
        The channels that have accepted the message.
    """

    id: str
    alert: Alert
    channels: tuple[str, ...]
    delivered: tuple[str, ...] = ()


class Spool:
    """A folder of alerts.

    Parameters
    ----------
    folder : Path
        Made when the first alert is written.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def add(self, alert: Alert, channels: tuple[str, ...], key: str) -> tuple[SpooledAlert, bool]:
        """Write an alert; return it, and whether another one with this key is waiting.

        Raises
        ------
        OSError
            If it cannot be written, or `MAX_FILES` are waiting.
        """
        digest = hashlib.sha256(key.encode()).hexdigest()[:12]
        names = [path.name for path in self._folder.glob("*.json")]
        if len(names) >= MAX_FILES:
            raise OSError(f"{self._folder}: {MAX_FILES} alerts are waiting for the database")
        spooled = SpooledAlert(id=f"{time.time_ns():020}-{os.getpid()}-{digest}", alert=alert, channels=channels)
        self.write(spooled)
        return spooled, any(name.endswith(f"{digest}.json") for name in names)

    def write(self, spooled: SpooledAlert) -> None:
        """Write or replace the file of an alert."""
        write_synced(self._folder / f"{spooled.id}.json", spooled.model_dump_json())

    def __iter__(self) -> Iterator[SpooledAlert]:
        """Return the alerts, the oldest first. A file that is gone meanwhile, or broken, is left out."""
        for path in sorted(self._folder.glob("*.json")):
            with suppress(OSError, ValueError):
                yield SpooledAlert.model_validate_json(path.read_text(encoding="utf-8"))

    def remove(self, spooled: SpooledAlert) -> None:
        """Remove the file of an alert that the database has."""
        (self._folder / f"{spooled.id}.json").unlink(missing_ok=True)


def write_synced(path: Path, content: str) -> None:
    """Write or replace a file so that a crash of the machine leaves it as it was, or as it is then.

    It is written under another name, synced and renamed; then its folder is synced, which is made if there is none.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".tmp")
    with unfinished.open("w", encoding="utf-8") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
