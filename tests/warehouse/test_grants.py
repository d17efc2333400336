"""Tables in another schema than `source`: an error has the statements that grant the right; a command runs them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from include.cli import main
from include.errors import MissingGrantError, SluiceError
from include.records import Period
from include.spec import ModelSpec
from include.warehouse import open_engine
from include.warehouse.engine import under_role
from include.warehouse.feature_source import PostgresFeatureSource
from include.warehouse.grants import grant_schema
from tests.builders import QUERY, TODAY, declare_model

DAY = Period.of_day(TODAY.date())
SCHEMAS = ("lake", 'Lake of "salt"; --')
TABLE = """
    CREATE TABLE {} AS SELECT 'a' AS parcel_id, now() AS sent_at, 1.0::float8 AS weight, 1.0::float8 AS distance,
    'ant'::text AS carrier, true AS fragile, 'late'::text AS outcome
"""


@pytest.fixture(params=SCHEMAS)
def schema(request, database_url: str) -> str:
    with psycopg.connect(database_url) as connection:
        connection.execute(SQL("CREATE SCHEMA {}").format(Identifier(request.param)))
        connection.execute(SQL(TABLE).format(Identifier(request.param, "parcels")))
    return request.param


@pytest.fixture
def spec(tmp_path: Path, schema: str) -> ModelSpec:
    quoted = schema.replace('"', '""')
    return declare_model(tmp_path / "models", query=QUERY.replace("source.{name}", f'"{quoted}".parcels'))


@pytest.fixture
def trainer(database_url: str) -> PostgresFeatureSource:
    return PostgresFeatureSource(under_role(database_url, "sluice_trainer"))


def ways_to_read(source: PostgresFeatureSource, spec: ModelSpec) -> Iterator[Callable[[], object]]:
    def materialize() -> None:
        engine = open_engine(source._url)
        with engine.begin() as connection:
            source.materialize(spec.query, DAY, connection, "sluice_scratch.some")
        engine.dispose()

    yield lambda: source.columns(spec.query)
    yield lambda: source.count(spec.query, DAY)
    yield materialize


def test_the_statements_of_the_message_grant_the_right_whatever_the_name(
    database_url: str, trainer: PostgresFeatureSource, spec: ModelSpec, schema: str
) -> None:
    for read in ways_to_read(trainer, spec):
        with pytest.raises(MissingGrantError, match="role sluice_trainer may read the source") as refused:
            read()
        assert refused.value.schemas == (schema,)
    with psycopg.connect(database_url) as connection:
        for statement in refused.value.statements:
            assert f"{statement};" in str(refused.value)
            connection.execute(statement)
    for read in ways_to_read(trainer, spec):
        read()


def test_a_table_without_the_right_is_named_with_its_schema(
    database_url: str, trainer: PostgresFeatureSource, spec: ModelSpec, schema: str
) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute(SQL("GRANT USAGE ON SCHEMA {} TO sluice_trainer").format(Identifier(schema)))
    with pytest.raises(MissingGrantError, match="permission denied for table parcels") as refused:
        trainer.count(spec.query, DAY)
    assert refused.value.schemas == (schema,)


def test_one_command_grants_tables_of_today_and_of_later_and_another_takes_it_back(
    database_url: str, trainer: PostgresFeatureSource, spec: ModelSpec, schema: str, monkeypatch, tmp_path, capsys
) -> None:
    monkeypatch.setenv("SLUICE_DATABASE_URL", database_url)
    monkeypatch.setenv("SLUICE_HOME", str(tmp_path / "home"))
    assert main(["grant", schema]) == 0
    assert capsys.readouterr().out == (
        f"sluice_trainer and sluice_operator may read every table of schema {schema}, also those that are made later.\n"
    )
    assert trainer.count(spec.query, DAY) == 0
    with psycopg.connect(database_url) as connection:
        connection.execute(SQL("DROP TABLE {}").format(Identifier(schema, "parcels")))
        connection.execute(SQL(TABLE).format(Identifier(schema, "parcels")))
    assert trainer.count(spec.query, DAY) == 0
    assert main(["revoke", schema]) == 0
    with pytest.raises(MissingGrantError):
        trainer.count(spec.query, DAY)


@pytest.mark.parametrize(
    ("schema_name", "found"),
    [
        ("nowhere", "does not exist"),
        ("sluice", "whose rights Sluice's migrations"),
        ("pg_catalog", "or PostgreSQL set"),
    ],
)
def test_a_schema_that_is_none_or_not_the_users_is_refused(database_url: str, schema_name: str, found: str) -> None:
    with pytest.raises(SluiceError, match=found):
        grant_schema(database_url, schema_name)


def test_a_login_that_may_not_grant_gets_the_statements_for_the_owner(database_url: str, schema: str) -> None:
    with pytest.raises(SluiceError, match="Let their owner or a superuser run: GRANT USAGE ON SCHEMA"):
        grant_schema(under_role(database_url, "sluice_trainer"), schema)
