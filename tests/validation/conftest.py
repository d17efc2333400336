"""The flights of 2013 with a fault in each of some days, and a function to validate a period of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from include.models import MODELS_DIR, declared_models, read_spec
from include.records import Period, Purpose, ValidationReport
from include.spec import ModelSpec
from include.validation import validate
from include.warehouse import open_engine
from include.warehouse.feature_source import PostgresFeatureSource
from include.warehouse.samples import load_samples

NO_KEY, UNKNOWN, NEGATIVE, EMPTY, DOUBLE = (date(2013, 2, day) for day in (2, 3, 4, 5, 6))


@pytest.fixture(autouse=True)
def _few_expectations() -> None:
    """Replace the fixture that leaves some out: here Great Expectations repeats as many checks as in production."""


@pytest.fixture(scope="package")
def flights_url(new_database: Callable[[], str]) -> str:
    """The flights of 2013, with a different fault in each of some days."""
    url = new_database()
    engine = open_engine(url)
    load_samples(engine, dates="true", today=date(2013, 12, 31))
    with engine.begin() as connection:
        for statement in (
            "ALTER TABLE source.flights DROP CONSTRAINT flights_pkey",
            "ALTER TABLE source.flights ALTER COLUMN flight_key DROP NOT NULL",
            f"UPDATE source.flights SET flight_key = NULL WHERE flight_key IN ({_keys(NO_KEY, 3)})",
            f"UPDATE source.flights SET carrier = 'ZZ' WHERE flight_key IN ({_keys(UNKNOWN, 25)})",
            f"UPDATE source.flights SET distance = -distance WHERE flight_key IN ({_keys(NEGATIVE, 2)})",
            f"DELETE FROM source.flights WHERE {_on(EMPTY)}",
            f"INSERT INTO source.flights SELECT * FROM source.flights WHERE flight_key IN ({_keys(DOUBLE, 2)})",
        ):
            connection.execute(text(statement))
    engine.dispose()
    return url


@pytest.fixture
def flights(flights_url: str) -> Iterator[Engine]:
    engine = open_engine(flights_url)
    yield engine
    engine.dispose()


@pytest.fixture
def spec() -> ModelSpec:
    return declared_models()["flight_delay"]


@pytest.fixture
def check(flights_url: str, tmp_path: Path) -> Callable[..., ValidationReport]:
    """Validate a day, or a period, of the flights."""

    def run(spec: ModelSpec, period: Period | date, purpose: Purpose = "score") -> ValidationReport:
        whole = period if isinstance(period, Period) else Period.of_day(period)
        return validate(
            spec,
            whole,
            purpose=purpose,
            run_id="run 1",
            database_url=flights_url,
            materialize=PostgresFeatureSource(flights_url).materialize,
            docs_dir=tmp_path,
        )

    return run


def _on(day: date) -> str:
    return f"scheduled_at >= '{day}T00:00Z' AND scheduled_at < '{day + timedelta(days=1)}T00:00Z'"


def _keys(day: date, number: int) -> str:
    return f"SELECT flight_key FROM source.flights WHERE {_on(day)} ORDER BY 1 LIMIT {number}"


@pytest.fixture
def variant(tmp_path: Path) -> Callable[..., ModelSpec]:
    """flight_delay with a change in one of its files."""

    def make(old: str, new: str, *, file: str = "features.sql") -> ModelSpec:
        folder = tmp_path / "models" / "flight_delay"
        folder.mkdir(parents=True)
        for name in ("spec.py", "features.sql"):
            content = (MODELS_DIR / "flight_delay" / name).read_text()
            if name == file:
                assert old in content
                content = content.replace(old, new)
            (folder / name).write_text(content)
        return read_spec(folder / "spec.py")

    return make
