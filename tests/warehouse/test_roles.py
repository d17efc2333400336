"""What the service's roles may do in the database, and migrating without the right to make them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg.errors import InsufficientPrivilege, ObjectNotInPrerequisiteState, ReadOnlySqlTransaction
from sqlalchemy import make_url

from include.models import read_spec
from include.scoring.tables import ensure_score_table
from include.settings import REPOSITORY
from include.warehouse import migrate, open_engine, start_embedded, stop_embedded
from model_service.db.connections import open_scores

PASSWORD = "pw"  # noqa: S105  # of a server that lives for this file
READS = (
    "scores.iris", "scores.iris_latest", "sluice.model_version", "sluice.promotion", "sluice.partition_publication",
    "sluice.champion", "sluice.champion_history", "sluice.published_partition",
)  # fmt: skip


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server of its own: roles belong to a whole server."""
    home: Path = tmp_path_factory.mktemp("roles")
    url = start_embedded(home, durable=False)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE owner LOGIN PASSWORD '{PASSWORD}'")
        connection.execute(f"CREATE ROLE service LOGIN PASSWORD '{PASSWORD}'")
    yield url
    stop_embedded(home)


def on(server: str, database: str, user: str | None = None) -> str:
    url = make_url(server).set(database=database)
    return (url.set(username=user, password=PASSWORD) if user else url).render_as_string(hide_password=False)


def test_without_the_right_to_make_roles_the_schema_is_made_all_the_same(server: str) -> None:
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute("CREATE DATABASE first OWNER owner")
        migrate(on(server, "first", "owner"))
        made = connection.execute("SELECT rolname FROM pg_roles WHERE rolname LIKE 'sluice_%'").fetchall()
    assert made == []
    with psycopg.connect(on(server, "first", "owner")) as connection:
        assert connection.execute("SELECT count(*) FROM sluice_jobs.job").fetchone() == (0,)


@pytest.fixture(scope="module")
def service(server: str) -> str:
    """URL of a service's role in a database whose owner may not make roles, but finds them made."""
    with psycopg.connect(server, autocommit=True) as connection:
        for role in ("sluice_reader", "sluice_worker"):
            connection.execute(f"DO $$ BEGIN CREATE ROLE {role} NOLOGIN; EXCEPTION WHEN duplicate_object THEN END $$")
        connection.execute("CREATE DATABASE second OWNER owner")
        connection.execute("GRANT sluice_reader, sluice_worker TO service")
    owner = on(server, "second", "owner")
    migrate(owner)
    engine = open_engine(owner)
    ensure_score_table(engine, read_spec(REPOSITORY / "include" / "models" / "iris" / "spec.py"))
    engine.dispose()
    return on(server, "second", "service")


@pytest.mark.parametrize("relation", READS)
def test_a_reader_reads_the_scores_and_the_ledger_also_of_tables_made_later(service: str, relation: str) -> None:
    with psycopg.connect(service) as connection:
        assert connection.execute(f"SELECT count(*) FROM {relation}").fetchone() == (0,)


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM sluice.prediction_log", "SELECT * FROM sluice.alert", "DELETE FROM scores.iris",
        "INSERT INTO sluice.promotion VALUES ('m', 1, NULL, 1, 'a', 'r', 'e')", "CREATE TABLE sluice.mine ()",
        "UPDATE sluice.model_version SET run_id = 'x'", "CREATE TABLE scores.mine ()",
    ],
)  # fmt: skip
def test_and_nothing_else(service: str, statement: str) -> None:
    with psycopg.connect(service) as connection, pytest.raises(InsufficientPrivilege):
        connection.execute(statement)


def test_what_the_service_notes_goes_through_functions_only(service: str) -> None:
    with psycopg.connect(service) as connection:
        assert connection.execute("SELECT sluice.log_predictions('[]', '30 days')").fetchone() == (0,)
        assert connection.execute("SELECT sluice.raise_service_alert('iris', 'refused', 'why')").fetchone() == (True,)
        with pytest.raises(InsufficientPrivilege):
            connection.execute("DELETE FROM sluice.alert")


def test_a_worker_writes_jobs_but_not_through_the_connections_that_read(service: str) -> None:
    with psycopg.connect(service) as connection:
        assert connection.execute("DELETE FROM sluice_jobs.job").rowcount == 0
    engine = open_scores(service, 1)
    with engine.connect() as connection, pytest.raises(Exception, match="read-only transaction") as refused:
        connection.exec_driver_sql("DELETE FROM sluice_jobs.job")
    assert isinstance(refused.value.orig, ReadOnlySqlTransaction)
    engine.dispose()


def test_a_superuser_has_the_roles_made_and_reads_as_the_one_that_may_only_read(server: str) -> None:
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute("CREATE DATABASE third")
        migrate(on(server, "third"))
        made = connection.execute("SELECT rolcanlogin FROM pg_roles WHERE rolname ~ '^sluice_(reader|worker)$'")
        assert made.fetchall() == [(False,), (False,)]
    engine = open_scores(on(server, "third"), 1)
    for _ in range(2):  # also when the connection comes out of the pool again
        with engine.connect() as connection:
            assert connection.exec_driver_sql("SELECT current_user").scalar_one() == "sluice_reader"
            connection.rollback()
    engine.dispose()


def test_who_is_no_superuser_reads_as_who_it_is(server: str) -> None:
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute("CREATE DATABASE fourth OWNER owner")
    migrate(on(server, "fourth", "owner"))
    engine = open_scores(on(server, "fourth", "owner"), 1)
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT current_user").scalar_one() == "owner"
        assert connection.exec_driver_sql("SELECT count(*) FROM sluice.promotion").scalar_one() == 0
    engine.dispose()


ANALYST_READS = (
    "scores.iris", "scores.iris_latest", "sluice.champion", "sluice.champion_history", "sluice.published_partition",
    "sluice.score_lineage",
)  # fmt: skip


@pytest.fixture(scope="module")
def analyst(server: str) -> str:
    """URL of an analyst in a database that a superuser has migrated, where a model was scored."""
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute("CREATE DATABASE fifth")
        migrate(on(server, "fifth"))
        connection.execute(f"CREATE ROLE ann LOGIN PASSWORD '{PASSWORD}'; GRANT sluice_analyst TO ann")
    engine = open_engine(on(server, "fifth"))
    ensure_score_table(engine, read_spec(REPOSITORY / "include" / "models" / "iris" / "spec.py"))
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE source.mine ()")
        connection.exec_driver_sql("CREATE TABLE staging.iris_p20260101_0000_a1 (LIKE scores.iris)")
    engine.dispose()
    return on(server, "fifth", "ann")


@pytest.mark.parametrize("relation", ANALYST_READS)
def test_an_analyst_reads_the_scores_and_the_views_of_the_ledger(analyst: str, relation: str) -> None:
    with psycopg.connect(analyst) as connection:
        assert connection.execute(f"SELECT count(*) FROM {relation}").fetchone() == (0,)


def test_and_nothing_else_at_all(analyst: str) -> None:
    with psycopg.connect(analyst, autocommit=True) as connection:
        everything = connection.execute(
            "SELECT format('%I.%I', nspname, relname) FROM pg_class JOIN pg_namespace AS n ON n.oid = relnamespace"
            " WHERE relkind IN ('r', 'p', 'v', 'm')"
            " AND nspname IN ('sluice', 'scores', 'source', 'staging', 'public')"
        ).fetchall()
        assert len(everything) > 2 * len(ANALYST_READS)
        for (relation,) in everything:
            if relation not in ANALYST_READS:
                with pytest.raises(InsufficientPrivilege):
                    connection.execute(f"SELECT count(*) FROM {relation}")
        for relation in ANALYST_READS:
            with pytest.raises((InsufficientPrivilege, ObjectNotInPrerequisiteState)):
                connection.execute(f"DELETE FROM {relation}")


def test_an_analyst_may_call_no_function_of_the_ledger_though_some_write_with_their_owner_s_rights(
    analyst: str,
) -> None:
    with psycopg.connect(analyst) as connection:
        callable_ = connection.execute(
            "SELECT proname FROM pg_proc WHERE pronamespace = 'sluice'::regnamespace"
            " AND has_function_privilege(oid, 'EXECUTE')"
        ).fetchall()
        assert callable_ == []
        with pytest.raises(InsufficientPrivilege):
            connection.execute("SELECT sluice.log_predictions('[]', '1 day')")
