"""A page of the documentation that a reader follows, done as the reader would: its commands, files and edits in order.

A comment above a block says what the reader does with it: ``file: NAME`` saves it, ``function of: MODEL`` puts it in
the place of the function in the model's ``spec.py``, ``fields of: MODEL`` puts its lines in the place of the same
fields, or adds them, and ``change: MODEL/FILE`` makes the change that a ``diff`` shows. Blocks of ``console`` are run.

The samples of Sluice and most commands know what today is, so the days of a page move: a page of November 2026 was
written on the 30th.
"""

from __future__ import annotations

import os
import re
import subprocess
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import pytest

from include.ports import any_free_port
from tests.repo.console import agrees, commands

REPOSITORY: Final = Path(__file__).parents[2]
BLOCK = re.compile(r"(?:<!-- ([a-z ]+): (\S+) -->\n)?```(\w+)\n(.*?)```", re.DOTALL)
WRITTEN_ON: Final = datetime(2026, 11, 30, tzinfo=UTC)


@dataclass
class Reader:
    """Follows a page in a folder of its own, with a database of its own.

    `asked` is called with each ``curl`` command after it was answered, `before_stop` before the service stops.
    """

    folder: Path
    database_url: str
    asked: Callable[[str], None] = lambda _: None
    before_stop: Callable[[], None] = lambda: None
    port: int = field(default_factory=any_free_port)
    seconds: list[tuple[str, float]] = field(default_factory=list)  # of each command
    failures: list[int] = field(default_factory=list)  # the exit statuses other than 0, in the order of the page
    _service: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        self.models = self.folder / "models"
        self.models.mkdir()
        (self.folder / "docs").symlink_to(REPOSITORY / "docs")
        self._environment = os.environ | {
            "PATH": f"{REPOSITORY / '.venv' / 'bin'}:{os.environ['PATH']}",
            "SLUICE_DATABASE_URL": self.database_url,
            "SLUICE_HOME": str(self.folder / "home"),
            "SLUICE_MODELS_DIR": str(self.models),
            "SLUICE_SERVICE_PORT": str(self.port),
            "PYTHONWARNINGS": "ignore",
        }

    def follow(self, page: Path) -> None:
        """Do all that the page says; a command that says something else than the page fails the test."""
        try:
            for action, name, text in blocks(page):
                self._do(action, name, text)
        finally:
            self._stop_service()
            print(
                "| Command | Seconds |\n|---|--:|", *(f"| `{what}` | {s:.1f} |" for what, s in self.seconds), sep="\n"
            )

    def _do(self, action: str, name: str, text: str) -> None:
        if action == "file":
            (self.folder / name).write_text(text)
        elif action in ("function of", "fields of"):
            _edit(self.models / name / "spec.py", with_function if action == "function of" else with_fields, text)
        elif action == "change":
            _edit(self.models / name, with_change, text)
        else:
            assert action == "console", f"a block of the page is neither run nor used: {text}"
            for command, shown in commands(f"```console\n{text}```"):
                self.run(command.replace("8090", str(self.port)), shown)

    def run(self, command: str, shown: str = "...") -> None:
        """Run a command, which must say what is `shown`."""
        began = time.monotonic()
        if command == "sluice serve":
            self._start_service()
        else:
            done = subprocess.run(
                ["bash", "-c", command],
                env=self._environment, cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                check=False, timeout=1800,
            )  # fmt: skip
            if not agrees(shown, done.stdout):
                pytest.fail(f"$ {command}\n--- the page shows\n{shown}\n--- it said ({done.returncode})\n{done.stdout}")
            if done.returncode:
                print(f"$ {command}\n{done.stdout}({done.returncode})")
                self.failures.append(done.returncode)
            if command.startswith("curl"):
                self.asked(command)
        self.seconds.append((command[:60], time.monotonic() - began))

    def _start_service(self) -> None:
        """The second terminal."""
        log = self.folder / "serve.log"
        with log.open("w") as file:
            self._service = subprocess.Popen(
                ["sluice", "serve"], env=self._environment, cwd=self.folder, stdout=file, stderr=file
            )
        until = time.monotonic() + 120
        while not _is_ready(self.port):
            assert self._service.poll() is None, log.read_text()
            assert time.monotonic() < until
            time.sleep(0.1)

    def _stop_service(self) -> None:
        if self._service is not None:
            self.before_stop()
            self._service.send_signal(2)
            assert self._service.wait(60) == 0


def blocks(page: Path) -> list[tuple[str, str, str]]:
    """Return the page's blocks with the days of this month: what to do with it, the name, and the text."""
    later = datetime.now(UTC) - WRITTEN_ON
    return [(action or kind, name, text) for action, name, kind, text in BLOCK.findall(_moved(page.read_text(), later))]


def _moved(text: str, later: timedelta) -> str:
    def moved(day: re.Match[str]) -> str:
        return f"{datetime.fromisoformat(day[0]).replace(tzinfo=UTC) + later:%Y-%m-%d}"

    return re.sub(r"2026-11-\d\d", moved, text)


def _edit(file: Path, change: Callable[[str, str], str], text: str) -> None:
    file.write_text(change(file.read_text(), text))


def with_function(source: str, function: str) -> str:
    """Return a spec.py with `function` in the place of its function of the same name."""
    name = re.match(r"def (\w+)", function)
    assert name is not None
    changed, count = re.subn(rf"^def {name[1]}\(.*?(?=^\S)", function + "\n\n", source, flags=re.DOTALL | re.MULTILINE)
    assert count == 1
    return changed


def with_fields(source: str, lines: str) -> str:
    """Return a spec.py with these imports, and these fields of ``ModelSpec(...)``."""
    for line in filter(None, lines.splitlines()):
        if not line.startswith(" "):
            source = source.replace("\n\n\n", f"\n{line}\n\n\n", 1)  # below the other imports
            continue
        field_name = line.split("=")[0]
        source, count = re.subn(rf"^{field_name}=.*$", line.replace("\\", r"\\"), source, flags=re.MULTILINE)
        if not count:
            before, end, after = source.rpartition("\n)\n")  # of ModelSpec(...), the last statement
            source = f"{before}\n{line}{end}{after}"
    return source


def with_change(source: str, diff: str) -> str:
    """Return a file after the change that `diff` shows: lines that begin with a minus, a plus, or a space."""
    former, present = (
        "".join(line[1:] + "\n" for line in diff.splitlines() if line[:1] in ("", " ", sign)) for sign in "-+"
    )
    assert source.count(former) == 1, f"the change does not fit:\n{former}\n--- the file is\n{source}"
    return source.replace(former, present)


def _is_ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/ready", timeout=10) as response:
            return response.status == 200
    except OSError:
        return False
