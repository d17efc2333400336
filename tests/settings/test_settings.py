"""What is refused at start, in one sentence that names the variable and never shows a password."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from include.errors import SettingsError
from include.ports import any_free_port
from include.settings import REPOSITORY, Settings, load_settings
from include.settings.checks import OTHER_VARIABLES
from tests.repo.tree import tracked

PASSWORD = "not-to-be-shown"  # noqa: S105  # nobody has it

MISTAKES = {
    "misspelt": ({"SLUICE_DATABSE_URL": "x"}, "Is SLUICE_DATABASE_URL meant?"),
    "former name": ({"SLUICE_SERVICE_RATE": "5"}, "Is SLUICE_SERVICE_RATE_LIMIT meant?"),
    "lower case": ({"sluice_service_prot": "5"}, "Is SLUICE_SERVICE_PORT meant?"),
    "unlike any": ({"SLUICE_QQQQQQQQ": "5"}, "docs/reference/settings.md lists all"),
    "mysql": ({"SLUICE_DATABASE_URL": f"mysql://u:{PASSWORD}@h/d"}, "found mysql://; Sluice supports only PostgreSQL"),
    "postgres": ({"SLUICE_DATABASE_URL": f"postgres://u:{PASSWORD}@h/d"}, "write postgresql://"),
    "typing error": ({"SLUICE_DATABASE_URL": f"postgresq://u:{PASSWORD}@h/d"}, "write postgresql://"),
    "other driver": ({"SLUICE_DATABASE_URL": f"postgresql+psycopg2://u:{PASSWORD}@h/d"}, "write postgresql+psycopg://"),
    "no URL": ({"SLUICE_DATABASE_URL": PASSWORD}, "found something else (not shown"),
    "one slash": ({"SLUICE_DATABASE_URL": f"postgresql:/u:{PASSWORD}@h/d"}, "found something else (not shown"),
    "port of letters": ({"SLUICE_DATABASE_URL": f"postgresql://u:{PASSWORD}@h:54a2/d"}, "expected "),
    "port too large": ({"SLUICE_DATABASE_URL": f"postgresql://u:{PASSWORD}@h:70000/d"}, "from 1 to 65535; found 70000"),
    "option": ({"SLUICE_DATABASE_URL": f"postgresql://u:{PASSWORD}@h/d?sslmod=require"}, "is 'sslmode' meant?"),
    "other URL": (
        {"SLUICE_SERVICE_DATABASE_URL": f"mysql://u:{PASSWORD}@h/d"},
        "SLUICE_SERVICE_DATABASE_URL: expected",
    ),
    "port 0": ({"SLUICE_SERVICE_PORT": "0"}, "SLUICE_SERVICE_PORT: Input should be greater than or equal to 1"),
    "secret JSON": ({"SLUICE_ALERT_CHANNELS": f'["json://u:{PASSWORD}@h"]'}, "SLUICE_ALERT_CHANNELS: "),
    "no models": ({"SLUICE_MODELS_DIR": "/no/such/folder"}, "found no /no/such/folder"),
    "home is a file": ({"SLUICE_HOME": __file__}, "SLUICE_HOME: expected a folder; found the file"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_named(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    variables, sentence = MISTAKES[name]
    for key, value in variables.items():
        monkeypatch.setenv(key, value)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert sentence in str(caught.value)
    assert next(iter(variables)) in str(caught.value)
    assert PASSWORD not in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:p@h:5432/d",
        "postgresql+psycopg://u:p@h/d",
        "postgresql:///d",
        "postgresql://postgres:@/postgres?host=/tmp/sockets",
        "postgresql://u:p%40w%2F@[::1]:5432/d?sslmode=require&options=-crole%3Dx&application_name=y",
        "postgresql://u:p#w@h/d",
    ],
)
def test_a_postgresql_url_is_taken(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("SLUICE_DATABASE_URL", url)
    assert load_settings().database_url == url


def test_what_kubernetes_sets_for_a_service_of_our_name_is_no_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("SLUICE_PORT", "SLUICE_PORT_8090_TCP_ADDR", "SLUICE_WEB_SERVICE_HOST", "SLUICE_WEB_SERVICE_PORT_HTTP")
    for name in names:
        monkeypatch.setenv(name, "tcp://10.0.0.1:8090")
    with pytest.raises(SettingsError):
        load_settings()
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.2")
    load_settings()


def test_every_variable_that_the_repository_sets_or_reads_is_known() -> None:
    known = {f"SLUICE_{name.upper()}" for name in Settings.model_fields} | set(OTHER_VARIABLES)
    files = [*tracked("deploy"), REPOSITORY / "docker-compose.yaml", REPOSITORY / "Makefile", REPOSITORY / "Dockerfile"]
    text = "\n".join(file.read_text(encoding="utf-8", errors="ignore") for file in files)
    assert set(re.findall(r"\bSLUICE_[A-Z_]*[A-Z]\b", text)) - known == set()


def start(program: str, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join((str(REPOSITORY), str(REPOSITORY / "plugins")))
    return subprocess.run(
        [sys.executable, "-m", program, *words],
        env={**os.environ, "PYTHONPATH": path, **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.mark.parametrize(
    ("program", "variables", "sentence"),
    [
        ("model_service", {"SLUICE_DEFAULT_MODEL": "irsi"}, "Is 'iris' meant?"),
        ("model_service", {"SLUICE_SERVICE_HOST": "no-such-host.invalid"}, "SLUICE_SERVICE_HOST: expected an address"),
        ("model_service", {"SLUICE_SERVICE_PORT": "0"}, "greater than or equal to 1"),
        ("model_service", {"SLUICE_DATABASE_URL": "mysql://h/d"}, "found mysql://"),
        ("model_service", {"SLUICE_SERVICE_WORKER": "1"}, "Is SLUICE_SERVICE_WORKERS meant?"),
        ("include.cli", {"SLUICE_DATABASE_URL": "mysql://h/d"}, "found mysql://"),
        ("include.cli", {"SLUICE_HOEM": "somewhere"}, "Is SLUICE_HOME meant?"),
        ("include.cli", {"SLUICE_HOME": f"{__file__}/home"}, "Not a directory"),
    ],
)
def test_the_programs_refuse_a_mistake_in_one_sentence(program: str, variables: dict[str, str], sentence: str) -> None:
    done = start(program, *(["status"] if program == "include.cli" else []), **variables)
    assert done.returncode == 1
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) <= 2  # the service also warns that it has no authentication


def test_a_home_that_cannot_be_made_is_named_by_the_service() -> None:
    done = start("model_service", SLUICE_HOME=f"{__file__}/home", SLUICE_SERVICE_PORT=str(any_free_port()))
    assert done.returncode == 1
    assert f"{__file__}/home" in done.stderr
    assert "Not a directory" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_service_listens_on_a_name(tmp_path: Path, database_url: str) -> None:
    port = any_free_port()
    path = os.pathsep.join((str(REPOSITORY), str(REPOSITORY / "plugins")))
    variables = {
        "SLUICE_SERVICE_HOST": "localhost",
        "SLUICE_SERVICE_PORT": str(port),
        "SLUICE_SERVICE_WORKERS": "1",
        "SLUICE_HOME": str(tmp_path),
        "SLUICE_DATABASE_URL": database_url,
    }
    with subprocess.Popen(
        [sys.executable, "-m", "model_service"],
        env={**os.environ, "PYTHONPATH": path, **variables},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as service:
        try:
            assert service.stderr is not None
            lines: list[str] = []
            while not lines or "listening on" not in lines[-1]:
                lines.append(service.stderr.readline())
                assert lines[-1], "".join(lines)
            assert f"http://127.0.0.1:{port}" in lines[-1]
        finally:
            service.terminate()
            service.communicate(timeout=60)
