"""The page of the first hour does what it says: its commands and edits are done in order, on its five models.

A comment above a block says what the reader does with it: ``file: NAME`` saves it, ``function of: MODEL`` puts it in
the place of the function in the model's ``spec.py``, ``fields of: MODEL`` puts its lines in the place of the same
fields, or adds them. ``-s`` shows the seconds of each command, as Markdown for the page.
"""

from __future__ import annotations

import os
import re
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from pathlib import Path

import pytest

from include.ports import any_free_port
from tests.repo.console import agrees, commands

REPOSITORY = Path(__file__).parents[2]
PAGE = REPOSITORY / "docs" / "first-hour.md"
WRITTEN_ON = datetime(2026, 11, 30, tzinfo=UTC)  # the samples end today, whenever that is: their days move with it
BLOCK = re.compile(r"(?:<!-- ([a-z ]+): (\S+) -->\n)?```(\w+)\n(.*?)```", re.DOTALL)


def blocks() -> list[tuple[str, str, str]]:
    """Return the page's blocks: what to do with it, the name, and the text."""
    page = PAGE.read_text(encoding="utf-8")
    today = datetime.now(UTC)
    page = re.sub(
        r"2026-11-\d\d",
        lambda day: f"{datetime.fromisoformat(day[0]).replace(tzinfo=UTC) + (today - WRITTEN_ON):%Y-%m-%d}",
        page,
    )
    return [(action or kind, name, text) for action, name, kind, text in BLOCK.findall(page)]


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
        field = line.split("=")[0]
        source, count = re.subn(rf"^{field}=.*$", line.replace("\\", r"\\"), source, flags=re.MULTILINE)
        if not count:
            source = re.sub(r"^\)$", f"{line}\n)", source, count=1, flags=re.MULTILINE)
    return source


def is_ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/ready", timeout=10) as response:
            return response.status == 200
    except OSError:
        return False


@contextmanager
def serving(environment: dict[str, str], folder: Path, port: int) -> Iterator[None]:
    """The second terminal: `sluice serve`, and Ctrl-C at the end."""
    with (folder / "serve.log").open("w") as log:
        service = subprocess.Popen(["sluice", "serve"], env=environment, cwd=folder, stdout=log, stderr=log)
        try:
            until = time.monotonic() + 120
            while not is_ready(port):
                assert service.poll() is None, (folder / "serve.log").read_text()
                assert time.monotonic() < until
                time.sleep(0.1)
            yield
        finally:
            service.send_signal(2)
            assert service.wait(60) == 0


@pytest.mark.slow  # five models of real data
def test_every_command_of_the_first_hour_says_what_the_page_shows(database_url: str, tmp_path: Path) -> None:
    port = any_free_port()
    environment = os.environ | {
        "PATH": f"{REPOSITORY / '.venv' / 'bin'}:{os.environ['PATH']}",
        "SLUICE_DATABASE_URL": database_url,
        "SLUICE_HOME": str(tmp_path / "home"),
        "SLUICE_MODELS_DIR": str(tmp_path / "models"),
        "SLUICE_SERVICE_PORT": str(port),
        "PYTHONWARNINGS": "ignore",
    }
    (tmp_path / "models").mkdir()
    (tmp_path / "docs").symlink_to(REPOSITORY / "docs")
    for action, name, text in blocks():
        if action == "file":
            (tmp_path / name).write_text(text)
        elif action in ("function of", "fields of"):
            spec = tmp_path / "models" / name / "spec.py"
            change = with_function if action == "function of" else with_fields
            spec.write_text(change(spec.read_text(), text))
        else:
            assert action == "console", f"a block of the page is neither run nor used: {text}"
            for command, shown in commands(f"```console\n{text}```"):
                run(command.replace("8090", str(port)), shown, environment, tmp_path, port)


def run(command: str, shown: str, environment: dict[str, str], folder: Path, port: int) -> None:
    if command == "sluice serve":
        return  # it runs while the command after it asks it
    began = time.monotonic()
    asks = command.startswith("curl")
    with serving(environment, folder, port) if asks else nullcontext():
        done = subprocess.run(
            ["bash", "-c", command],
            env=environment, cwd=folder, capture_output=True, text=True, check=False, timeout=1800,
        )  # fmt: skip
    said = done.stdout + done.stderr
    print(f"| `{command[:60]}` | {time.monotonic() - began:.1f} |", flush=True)
    if done.returncode != 0 or not agrees(shown, said):
        pytest.fail(f"$ {command}\n--- the page shows\n{shown}\n--- it said\n{said}")
