"""The logins that the compose file's PostgreSQL is made with: each does its work, and nothing beyond."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import make_url

from include import pipeline
from include.errors import ApprovalRequiredError
from include.resources import open_resources
from include.settings import REPOSITORY, Settings
from include.warehouse import embedded, migrate, stop_embedded
from tests.builders import APPROVED_SPEC, declare_model, load_parcels, retrain

COMPOSE_FOLDER = REPOSITORY / "deploy" / "compose"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A cluster as the PostgreSQL image makes it, after our script for it was run."""
    home = tmp_path_factory.mktemp("compose")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(embedded, "SUPERUSER", "postgres")
        url = make_url(embedded.start_embedded(home, durable=False))
        admin = url.set(database="postgres").render_as_string(hide_password=False)
        with psycopg.connect(admin, autocommit=True) as connection:
            connection.execute("DROP DATABASE sluice")
        environment = os.environ | {
            "PATH": f"{Path(embedded.binary('psql')).parent}{os.pathsep}{os.environ['PATH']}",
            "PGHOST": str(url.host),
            "PGPORT": str(url.port),
            "PGPASSWORD": str(url.password),
            "POSTGRES_USER": "postgres",
            "SLUICE_DB_PASSWORD": "owner",
            "SLUICE_SERVICE_DB_PASSWORD": "it's quoted",
            "SLUICE_TRAINER_DB_PASSWORD": "trainer",
            "SLUICE_APPROVER_DB_PASSWORD": "approver",
            "SLUICE_AIRFLOW_DB_PASSWORD": "airflow",
        }
        subprocess.run([str(COMPOSE_FOLDER / "postgres" / "10-roles.sh")], env=environment, check=True)
    migrate(f"postgresql://sluice:owner@{url.host}:{url.port}/sluice")
    with psycopg.connect(admin, autocommit=True) as connection:  # people, as an administrator makes them
        for role in ("sluice_analyst", "sluice_operator"):
            connection.execute(f"CREATE ROLE of_{role} LOGIN PASSWORD 'ann' IN ROLE {role}")
    yield f"{url.host}:{url.port}"
    stop_embedded(home)


def test_the_service_s_role_reads_ledger_and_scores_and_nothing_else(cluster: str) -> None:
    owner = f"postgresql://sluice:owner@{cluster}/sluice"
    with psycopg.connect(owner, autocommit=True) as connection:
        connection.execute("CREATE TABLE scores.later (entity_key text)")
        connection.execute("CREATE TABLE source.people (name text)")
    with psycopg.connect(
        f"postgresql://sluice_service:it%27s%20quoted@{cluster}/sluice", autocommit=True
    ) as connection:
        connection.execute("LISTEN sluice_promotion")
        for allowed in ("sluice.champion", "sluice.model_version", "sluice.partition_publication", "scores.later"):
            connection.execute(f"SELECT * FROM {allowed}")
        for refused in (
            "SELECT * FROM source.people",
            "DELETE FROM sluice.alert",
            "INSERT INTO scores.later VALUES ('x')",
            "CREATE TABLE scores.mine (x int)",
            "CREATE TABLE public.mine (x int)",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(refused)


def test_each_role_enters_its_own_database_only(cluster: str) -> None:
    with psycopg.connect(f"postgresql://airflow:airflow@{cluster}/airflow") as connection:
        connection.execute("CREATE TABLE mine (x int)")
    for stranger in (f"airflow:airflow@{cluster}/sluice", f"sluice:owner@{cluster}/airflow"):
        with pytest.raises(psycopg.OperationalError, match="permission denied"):
            psycopg.connect(f"postgresql://{stranger}")


def test_retraining_promotes_what_a_person_approved_and_each_under_a_login_of_its_own(
    cluster: str, tmp_path: Path
) -> None:
    owner, trainer, approver = (
        f"postgresql://{login}@{cluster}/sluice"
        for login in ("sluice:owner", "sluice_retraining:trainer", "sluice_approving:approver")
    )
    settings = Settings(home=tmp_path, database_url=owner, approver_database_url=approver)
    with ExitStack() as opened:
        owning, training = (
            opened.enter_context(open_resources(settings.model_copy(update={"database_url": url})))
            for url in (owner, trainer)
        )
        load_parcels(owning.engine)
        spec = declare_model(tmp_path / "models", spec=APPROVED_SPEC)
        version = retrain(spec, "run 1", training, requested_by="ann")
        with pytest.raises(ApprovalRequiredError):
            pipeline.promote_candidate(spec, version, "ann", training)
        pipeline.approve_version(spec, version.version, "bob", "seen on the card", training)
        assert pipeline.promote_candidate(spec, version, "ann", training).sequence == 1


@pytest.mark.parametrize("login", ["sluice_retraining:trainer", "sluice_approving:approver"])
@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO sluice.promotion (model, sequence, to_version) VALUES ('m', 1, 1)",
        "UPDATE sluice.model_version SET needs_approval = false",
        "DELETE FROM sluice.alert",
        "CREATE TABLE scores.mine (x int)",
        "CREATE SCHEMA mine",
    ],
)
def test_neither_of_them_does_more(cluster: str, login: str, statement: str) -> None:
    with (
        psycopg.connect(f"postgresql://{login}@{cluster}/sluice") as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        connection.execute(statement)


@pytest.mark.parametrize(
    ("role", "reads"), [("sluice_analyst", "sluice.score_lineage"), ("sluice_operator", "sluice.promotion")]
)
def test_a_person_s_login_gets_in_by_the_role_that_it_is_a_member_of(cluster: str, role: str, reads: str) -> None:
    with psycopg.connect(f"postgresql://of_{role}:ann@{cluster}/sluice") as connection:
        assert connection.execute(f"SELECT count(*) FROM {reads}").fetchone() is not None
