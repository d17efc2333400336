"""What the database, the role or the environment sets for its sessions does not change what Sluice reads and writes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path

import psycopg
import pytest

from include import pipeline
from include.records import Period
from include.resources import open_resources
from include.sessions import PREFERRED, REQUIRED, libpq_url
from include.settings import Settings
from include.warehouse import open_engine, under_role
from include.warehouse.rows import open_rows
from model_service.db.connections import open_jobs, open_log_writer, open_reader, open_scores
from tests.builders import QUERY, ROWS_A_DAY, SPEC, declare_model, load_parcels, retrain

DAY = Period.of_day(date(2026, 2, 20))
HOSTILE = {
    "timezone": "Asia/Kathmandu",
    "datestyle": "German",
    "intervalstyle": "iso_8601",
    "client_encoding": "LATIN1",
    "search_path": "elsewhere",
    "statement_timeout": "1",
    "lock_timeout": "1",
    "transaction_timeout": "200",
    "idle_in_transaction_session_timeout": "1",
    "idle_session_timeout": "1",
    "standard_conforming_strings": "off",
    "default_transaction_isolation": "serializable",
    "default_transaction_deferrable": "on",
    "default_transaction_read_only": "on",
    "row_security": "off",
    "extra_float_digits": "-15",
    "bytea_output": "escape",
    "xmlbinary": "hex",
    "array_nulls": "off",
    "transform_null_equals": "on",
    "quote_all_identifiers": "on",
}


@pytest.fixture(params=["DATABASE", "ROLE"])
def hostile(request: pytest.FixtureRequest, new_database: Callable[[], str], server_url: str) -> Iterator[str]:
    """URL of a database, or with a role, whose sessions have all other settings than Sluice relies on."""
    url = new_database()
    name = url.rsplit("/", 1)[1]
    role = f"role_{name}"
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {role} SUPERUSER LOGIN PASSWORD 'p'")
        whom = f"DATABASE {name}" if request.param == "DATABASE" else f"ROLE {role}"
        for setting, value in HOSTILE.items():
            connection.execute(f"ALTER {whom} SET {setting} = '{value}'")
    yield f"postgresql://{role}:p@{url.split('@')[1]}"
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
        connection.execute(f"DROP ROLE {role}")


def shown(settings: dict[str, str]) -> dict[str, str]:
    return {name: value.replace(", ", ",").lower() for name, value in settings.items()}


EXPECTED = shown({**PREFERRED, **REQUIRED, "transaction_timeout": "0"})
SELECT = "SELECT " + ", ".join(f"current_setting('{name}') AS {name}" for name in EXPECTED)


def test_the_test_changes_every_setting_that_a_role_may_have_different() -> None:
    assert set(HOSTILE) == {name for name in EXPECTED if not name.startswith("lc_")}


def test_every_kind_of_session_has_the_settings_that_sluice_relies_on(
    hostile: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGTZ", "Asia/Kathmandu")
    monkeypatch.setenv("PGDATESTYLE", "German")
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    engine = open_engine(hostile)
    with engine.connect() as connection:
        assert shown(dict(connection.exec_driver_sql(SELECT).mappings().one())) == EXPECTED
        connection.rollback()
        assert shown(dict(connection.exec_driver_sql(SELECT).mappings().one())) == EXPECTED
    engine.dispose()
    with open_rows(hostile, SELECT) as rows:
        assert shown(rows.read_all().to_pylist()[0]) == EXPECTED


def test_the_service_keeps_its_own_short_timeouts(hostile: str) -> None:
    reading = {"default_transaction_read_only": "on"}
    for engine, own in (
        (open_reader(hostile), {"statement_timeout": "2s", **reading}),
        (open_scores(hostile, 1.5), {"statement_timeout": "1500ms", **reading}),
        (
            open_jobs(hostile, 3),
            {"statement_timeout": "3s", "lock_timeout": "1500ms", "idle_in_transaction_session_timeout": "6s"},
        ),
        (open_log_writer(hostile), {"statement_timeout": "5s"}),
    ):
        with engine.connect() as connection:
            assert shown(dict(connection.exec_driver_sql(SELECT).mappings().one())) == EXPECTED | own
        engine.dispose()


def test_a_login_with_no_rights_may_set_all_of_it(database_url: str, server_url: str) -> None:
    name = database_url.rsplit("/", 1)[1]
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE plain_{name} LOGIN PASSWORD 'p'")
        engine = open_engine(f"postgresql://plain_{name}:p@{database_url.split('@')[1]}")
        with engine.connect() as plain:
            assert shown(dict(plain.exec_driver_sql(SELECT).mappings().one())) == EXPECTED
        engine.dispose()
        connection.execute(f"DROP ROLE plain_{name}")


def test_a_role_and_other_options_of_a_url_are_kept(database_url: str) -> None:
    url = under_role(database_url, "sluice_reader")
    statement = "SELECT current_user::text AS name, current_setting('timezone') AS zone"
    with open_rows(url, statement) as rows:
        assert rows.read_all().to_pylist() == [{"name": "sluice_reader", "zone": "UTC"}]
    url = f"{database_url}?options=-csearch_path%3Dpg_temp%20-ctimezone%3DAsia/Tokyo&application_name=a%20b"
    for each in (url, libpq_url(url)):
        engine = open_engine(each)
        with engine.connect() as connection:
            found = connection.exec_driver_sql("SHOW search_path").scalar(), connection.exec_driver_sql("SHOW timezone")
            assert (found[0], found[1].scalar()) == ("pg_temp", "UTC")
        engine.dispose()


def test_a_model_is_trained_and_scored_the_same_under_any_settings(
    hostile: str, database_url: str, tmp_path: Path
) -> None:
    # A string with a backslash, a time and a number as text: each would be read otherwise under the other settings.
    query = QUERY.replace("weight,", r"weight + length('\') - 1 + (sent_at::text NOT LIKE '2%+00')::int AS weight,")
    spec = declare_model(tmp_path, query=query, spec=SPEC.replace('"cat")', '"cat", "ü")'))
    snapshots, scores = [], []
    for url in (database_url, hostile):
        engine = open_engine(url)
        load_parcels(engine)
        engine.dispose()
        with open_resources(Settings(home=tmp_path / url[-20:-4], database_url=url)) as resources:
            version = retrain(spec, "run", resources)
            assert version.decision.accepted
            pipeline.promote_candidate(spec, version, "somebody", resources)
            published = pipeline.score(spec, "run", DAY, resources)
            assert published.row_count == ROWS_A_DAY
            snapshots.append(version.data_digest)
            scores.append(published.rows_digest)
    assert len(set(snapshots)) == 1
    assert len(set(scores)) == 1
