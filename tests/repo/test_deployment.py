"""The images and the compose file, as far as they can be held to their word without a container engine."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from include.settings import REPOSITORY
from include.signing import Keyring

COMPOSE_FOLDER = REPOSITORY / "deploy" / "compose"
COMPOSE_TEXT = (REPOSITORY / "docker-compose.yaml").read_text(encoding="utf-8")
DISTRIBUTED_TEXT = (COMPOSE_FOLDER / "distributed.yaml").read_text(encoding="utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load(COMPOSE_TEXT)
SERVICES: dict[str, Any] = COMPOSE["services"]
DOCKERFILE = (REPOSITORY / "Dockerfile").read_text(encoding="utf-8")
SECRET = re.compile(r"PASSWORD|SECRET|TOKEN|_KEY")


def stages() -> dict[str, str]:
    """Return the text of each stage of the Dockerfile by its name."""
    parts = re.split(r"^(?=FROM )", DOCKERFILE, flags=re.MULTILINE)[1:]
    return {re.match(r"FROM \S+ AS (\S+)", part)[1]: part for part in parts}  # type: ignore[index]


def environments() -> Iterator[tuple[str, str, str]]:
    """Yield service, variable and value as written, before anything is put in for ``${...}``."""
    for service, declared in SERVICES.items():
        for name, value in declared["environment"].items():
            yield service, name, "" if value is None else str(value)


# -- secrets ---------------------------------------------------------------------------------------


def test_no_secret_has_a_default_and_a_missing_one_says_how_to_make_it() -> None:
    written = re.findall(r"\$\{(\w+)([^}]*)\}", COMPOSE_TEXT + DISTRIBUTED_TEXT)
    secrets = {(name, rest) for name, rest in written if SECRET.search(name)}
    assert len({name for name, _ in secrets}) == 14
    assert {rest for _, rest in secrets} == {":?run deploy/compose/new-env.sh"}


def test_no_secret_is_written_into_the_compose_file() -> None:
    for service, name, value in environments():
        if SECRET.search(name) and not name.endswith("_FILE"):
            assert re.fullmatch(r"\$\{\w+:\?[^}]+\}", value), f"{service}: {name}"
        if "://" in value and "@" in value:
            assert re.fullmatch(r"[a-z0-9+]+://\w+:\$\{\w+:\?[^}]+\}@\w+:\d+/\w+", value), f"{service}: {name}"


def test_the_pattern_of_the_environment_file_is_complete_and_holds_no_secret() -> None:
    pattern = (COMPOSE_FOLDER / "env.example").read_text(encoding="utf-8")
    told = dict(re.findall(r"^#?(SLUICE_\w+)=(.*)$", pattern, re.MULTILINE))
    passed_on = {name for _, name, value in environments() if name.startswith("SLUICE_") and not value}
    written = re.findall(r"\$\{(\w+)([^}]*)\}", COMPOSE_TEXT + DISTRIBUTED_TEXT)
    assert set(told) == {name for name, _ in written} | passed_on
    assert [name for name, value in told.items() if SECRET.search(name) and value] == []
    reference = (
        (REPOSITORY / "docs" / "reference" / "settings.md").read_text(encoding="utf-8").split("## docker-compose")[1]
    )
    assert set(re.findall(r"^\| `(\w+)`", reference, re.MULTILINE)) == set(told)


def test_new_env_makes_every_secret_anew_for_the_owner_alone_and_overwrites_nothing(tmp_path: Path) -> None:
    folder = shutil.copytree(COMPOSE_FOLDER, tmp_path / "with space" / "compose", ignore=shutil.ignore_patterns(".env"))
    call = [str(folder / "new-env.sh")]
    subprocess.run(call, check=True, capture_output=True)
    made = folder / ".env"
    values = dict(re.findall(r"^(SLUICE_\w+)=(.*)$", made.read_text(), re.MULTILINE))
    assert len(set(values.values())) == len(values) == 14
    assert all(len(value) >= 44 for value in values.values())
    assert len(values["SLUICE_AIRFLOW_JWT_SECRET"]) >= 64
    assert made.stat().st_mode & 0o777 == 0o600
    keyring = Keyring(tmp_path, signing_key=values["SLUICE_SIGNING_KEY"], trusted_keys=values["SLUICE_TRUSTED_KEYS"])
    signer = keyring.signer()
    assert keyring.verify(b"x", signer.sign(b"x"), thing="x") == signer.key_id
    before = made.read_bytes()
    again = subprocess.run(call, check=False, capture_output=True, text=True)
    assert (again.returncode, made.read_bytes()) == (1, before)
    assert "already exists" in again.stderr


# -- hardening -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_a_container_can_write_only_where_it_must_and_has_limits(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in service
    assert "cap_add" not in service
    assert {"cpus", "memory", "pids"} <= set(service["deploy"]["resources"]["limits"])
    assert name == "init" or service["healthcheck"]["test"][0] == "CMD"
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))


def test_the_service_reads_artifacts_and_cannot_change_them() -> None:
    writable = [volume for volume in SERVICES["service"]["volumes"] if not volume.endswith(":ro")]
    assert writable == []
    assert "postgresql://sluice_service:" in SERVICES["service"]["environment"]["SLUICE_DATABASE_URL"]


def test_the_service_has_the_public_key_alone() -> None:
    assert "SLUICE_TRUSTED_KEYS" in SERVICES["service"]["environment"]
    assert "SLUICE_SIGNING_KEY" not in SERVICES["service"]["environment"]


def test_airflow_s_processes_share_one_environment_but_for_what_only_tasks_need() -> None:
    shared = COMPOSE["x-airflow-environment"]
    for name in ("api-server", "dag-processor", "triggerer"):
        assert SERVICES[name]["environment"] == shared
        assert SERVICES[name]["image"] == "sluice-airflow"
    tasks = SERVICES["scheduler"]["environment"]
    assert tasks.items() >= shared.items()
    assert tasks.keys() - shared.keys() == {
        "SLUICE_SIGNING_KEY",
        "SLUICE_AUTH_SECRET",
        "SLUICE_SERVICE_URL",
        "SLUICE_TRAINER_DATABASE_URL",
        "SLUICE_APPROVER_DATABASE_URL",
        "SLUICE_SERVICE_WORKERS",  # of a rehearsal
    }


def test_a_rehearsal_has_the_settings_that_the_service_has() -> None:
    service, scheduler = (SERVICES[name]["environment"] for name in ("service", "scheduler"))
    # Where it listens and whom it serves by default is the rehearsal's own; the database is not asked by it.
    own = {"SLUICE_SERVICE_HOST", "SLUICE_SERVICE_PORT", "SLUICE_DEFAULT_MODEL", "SLUICE_DATABASE_URL"}
    assert {name: scheduler.get(name) for name in service.keys() - own} == {
        name: value for name, value in service.items() if name not in own
    }


def test_nothing_starts_before_the_schema_is_there() -> None:
    assert SERVICES["init"]["depends_on"] == {"postgres": {"condition": "service_healthy"}}
    for name in set(SERVICES) - {"init", "postgres"}:
        needed = SERVICES[name]["depends_on"]
        assert needed in (
            {"init": {"condition": "service_completed_successfully"}},
            {"api-server": {"condition": "service_healthy"}},
        )


# -- images ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["airflow", "service"])
def test_an_image_runs_as_an_ordinary_user_and_gets_signals_itself(target: str) -> None:
    stage = stages()[target]
    assert re.findall(r"^USER (.*)$", stage, re.MULTILINE) == ["10001:10001"]
    assert re.search(r'^CMD \["', stage, re.MULTILINE)
    assert re.search(r"^HEALTHCHECK ", stage, re.MULTILINE)
    assert "pip" not in re.sub(r"#.*", "", stage)
    assert "ENTRYPOINT" not in stage


def test_everything_that_is_installed_is_pinned_by_hash() -> None:
    commands = re.findall(r"pip --python.*?(?:&&|\n\n)", DOCKERFILE.replace("\\\n", " ") + "\n\n", re.DOTALL)
    assert len(commands) == 4
    assert all("--require-hashes" in command and "--only-binary :all:" in command for command in commands)


def test_the_service_image_has_nothing_that_could_unpickle_a_model() -> None:
    assert "build-airflow" not in stages()["service"]
    pins = (REPOSITORY / "model_service" / "requirements.txt").read_text(encoding="utf-8")
    names = set(re.findall(r"^([a-z0-9_.-]+)==", pins, re.MULTILINE))
    assert not names & {
        "scikit-learn",
        "joblib",
        "pandas",
        "cloudpickle",
        "great-expectations",
        "apache-airflow",
        "alembic",
    }


def test_what_an_image_copies_is_there_and_is_sent_to_the_builder() -> None:
    ignore = (REPOSITORY / ".dockerignore").read_text(encoding="utf-8").splitlines()
    sent = tuple(line[1:] for line in ignore if line.startswith("!") and "**" not in line)
    copied = [
        source
        for words in re.findall(r"^COPY ((?!--from)[^\n]*)$", DOCKERFILE, re.MULTILINE)
        for source in [word for word in words.split() if not word.startswith("--")][:-1]
    ]
    assert len(copied) >= 8
    for source in copied:
        assert (REPOSITORY / source).exists(), source
        assert source.startswith(sent), source


# -- what the containers run -----------------------------------------------------------------------


@pytest.fixture
def airflow_says() -> Iterator[tuple[str, dict[str, Any]]]:
    """A server that answers as Airflow's API server does, and what it answers, to be changed."""
    states: dict[str, Any] = {name: {"status": "healthy"} for name in ("metadatabase", "scheduler", "dag_processor")}

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            assert self.path == "/api/v2/monitor/health"
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(states).encode())

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", states
    server.shutdown()
    server.server_close()


def test_the_health_check_tells_a_healthy_part_from_a_dead_one(airflow_says: tuple[str, dict[str, Any]]) -> None:
    address, states = airflow_says

    def check(part: str, address: str = address) -> tuple[int, str]:
        call = [sys.executable, str(COMPOSE_FOLDER / "healthy.py"), part, address]
        done = subprocess.run(call, capture_output=True, text=True, check=False)
        return done.returncode, done.stderr

    states["triggerer"] = {"status": None}
    states["scheduler"]["status"] = "unhealthy"
    assert check("dag_processor") == (0, "")
    assert check("triggerer") == (1, "triggerer: expected healthy; found None\n")
    assert check("scheduler") == (1, "scheduler: expected healthy; found unhealthy\n")
    assert check("scheduler", "http://127.0.0.1:1")[0] == 1
