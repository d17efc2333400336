"""Models that `sluice new` writes for a table or a file, trained and scored as they stand."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from include import pipeline
from include.models import read_spec
from include.onboarding import Onboarded, ProposalOptions, declare_from_csv, declare_from_table
from include.records import ModelVersion
from include.resources import Resources
from include.schedule import parse_moment, parse_partition

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def from_table(resources: Resources, tmp_path: Path) -> Callable[..., Onboarded]:
    """Calls `declare_from_table`; keyword arguments are the options."""

    def call(table: str, model: str = "shop", **options: Any) -> Onboarded:
        chosen = replace(ProposalOptions(), **options)
        return declare_from_table(
            resources.engine, tmp_path / "models", model, table, chosen, command="sluice new shop", now=NOW
        )

    return call


@pytest.fixture
def from_csv(resources: Resources, tmp_path: Path) -> Callable[..., Onboarded]:
    """Calls `declare_from_csv` with a file of these bytes; keyword arguments are the options."""

    def call(content: bytes | str, model: str = "shop", **options: Any) -> Onboarded:
        file = tmp_path / "rows.csv"
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        chosen = replace(ProposalOptions(), **options)
        return declare_from_csv(
            resources.engine, tmp_path / "models", model, file, chosen, command="sluice new shop", now=NOW
        )

    return call


@pytest.fixture
def run_sql(resources: Resources) -> Callable[[str], None]:
    """Runs statements in one transaction; a colon or a per cent sign in them means nothing."""

    def call(statements: str) -> None:
        with resources.engine.begin() as connection:
            connection.exec_driver_sql(statements, execution_options={"no_parameters": True})

    return call


@pytest.fixture
def train_and_score(resources: Resources) -> Callable[[Onboarded], tuple[ModelVersion, int]]:
    """Trains as the printed command says, without the rehearsal, and scores; returns version and scored rows."""

    def call(done: Onboarded) -> tuple[ModelVersion, int]:
        train, score = (shlex.split(command) for command in done.next_commands)
        spec = read_spec(done.folder / "spec.py")
        as_of = parse_moment(train[train.index("--as-of") + 1]) if "--as-of" in train else NOW
        version = pipeline.retrain(spec, "test", as_of, resources, rehearsal=None, until="gate").version
        assert version.decision.accepted, version.decision.reasons
        pipeline.promote_candidate(spec, version, "ann", resources)
        period = parse_partition(spec.score_schedule, score[score.index("--partition") + 1])
        return version, pipeline.score(spec, "test", period, resources).row_count

    return call


def shop(rows: int = 1200, *, step: timedelta = timedelta(hours=2), start: datetime | None = None) -> str:
    """Return the statement that makes ``source.orders``: a key, a time, features of each type, and an outcome."""
    first = (start or NOW.replace(hour=0) - rows * step).isoformat()
    return f"""
        SELECT setseed(0.3);
        CREATE TABLE source.orders AS
        SELECT 'order-' || n AS order_id,
               timestamptz '{first}' + (n - 1) * interval '{int(step.total_seconds())} seconds' AS ordered_at,
               round((random() * 90)::numeric, 2) AS amount,
               CASE WHEN n % 11 = 0 THEN NULL ELSE (random() * 20)::int END AS items,
               (ARRAY['phone', 'shop', 'web'])[1 + n % 3] AS channel,
               n % 5 = 0 AS regular,
               'note ' || n AS note,
               7 AS version,
               NULL::text AS outcome
        FROM generate_series(1, {rows}) AS n;
        UPDATE source.orders SET outcome =
            CASE WHEN amount / 90 + (channel = 'web')::int * 0.4 + random() * 0.5 > 0.9 THEN 'yes' ELSE 'no' END;
    """


def numbers_of(resources: Resources, statement: str) -> int:
    """Return the number that a query gives."""
    with resources.engine.connect() as connection:
        return int(connection.execute(text(statement)).scalar_one())


def spec_text(done: Onboarded) -> str:
    """Return the written declaration without line breaks, so that a test need not know where a line ends."""
    return re.sub(r"\s+", " ", (done.folder / "spec.py").read_text())
