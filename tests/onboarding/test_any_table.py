"""Any table of PostgreSQL becomes a declaration whose query runs, or is refused with a sentence."""

from __future__ import annotations

import contextlib
import re
import shutil
from datetime import UTC, datetime
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import sql

from include.errors import SluiceError
from include.models import read_spec
from include.onboarding import ProposalOptions, declare_from_table
from include.records import Period
from include.resources import Resources

# A type, and an expression of the row's number `n` and a random number `r` that gives values of it.
VALUES = {
    "smallint": "(r * 50)::smallint",
    "integer": "(r * 1e9)::int",
    "bigint": "9007199254740993 + n",
    "real": "(r * 1e30)::real",
    "double precision": "CASE WHEN n % 7 = 0 THEN 'NaN' WHEN n % 7 = 1 THEN '-Infinity' ELSE r * 1e-40 END::float8",
    "numeric": "CASE WHEN n % 9 = 0 THEN 1e200 ELSE round(r::numeric, 3) END",
    "boolean": "r < 0.5",
    "text": "CASE WHEN r < 0.3 THEN '' WHEN r < 0.6 THEN E'a\\nb' ELSE $$it's \"x\" \\ 'y'$$ END",
    "varchar": "'label ' || (n % 4)",
    "bpchar": "('k' || n % 3)::bpchar",
    "uuid": "gen_random_uuid()",
    "json": "'{}'::json",
    "text[]": "ARRAY['a']",
    "date": "date '2025-01-01' + n::int",
    "timestamp": "timestamp '2025-01-01' + n * interval '5 hours'",
    "timestamptz": "CASE WHEN n % 20 = 0 THEN 'infinity' ELSE now() - n * interval '3 days' END",
    "interval": "n * interval '1 hour'",
    "constant": "3",
}
NAMES = st.text(min_size=1, max_size=20).filter(
    lambda name: "\0" not in name and not re.search("[\ud800-\udfff]", name) and len(name.encode()) < 60
)


@given(
    st.lists(st.tuples(NAMES, st.sampled_from(sorted(VALUES)), st.integers(0, 3)), min_size=1, max_size=7),
    st.sampled_from((150, 40, 1, 0)),
    st.sampled_from((True, True, False)),
)
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_any_table_is_declared_or_refused(resources: Resources, tmp_path: Path, columns, rows: int, typical) -> None:
    listed = {name: (kind, nulls) for name, kind, nulls in columns}
    if typical:
        listed = {"id": ("serial", 0), "seen_at": ("moment", 0), **listed, "y": ("mark", 0)}
    extra = {"serial": "n", "moment": "timestamptz '2025-06-01' + n * interval '6 hours'", "mark": "n % 2"}
    parts = [
        sql.SQL("CASE WHEN n % 5 >= {} THEN {} END AS {}").format(
            sql.Literal(nulls), sql.SQL((VALUES | extra)[kind]), sql.Identifier(name)
        )
        for name, (kind, nulls) in listed.items()
    ]
    connection = resources.engine.raw_connection()
    driver = connection.driver_connection
    table = sql.Identifier("source", "any: table")
    driver.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(table))
    driver.execute(
        sql.SQL("CREATE TABLE {} AS SELECT {} FROM (SELECT n, random() AS r FROM generate_series(1, {}) AS n) AS rows")
        .format(table, sql.SQL(", ").join(parts), sql.Literal(rows))
    )  # fmt: skip
    driver.commit()
    connection.close()
    shutil.rmtree(tmp_path / "models", ignore_errors=True)
    with contextlib.suppress(SluiceError):  # any other error is a fault
        done = declare_from_table(
            resources.engine, tmp_path / "models", "shop", 'source."any: table"', ProposalOptions(),
            command="sluice new shop", now=datetime.now(UTC),
        )  # fmt: skip
        spec = read_spec(done.folder / "spec.py")
        found = resources.features.columns(spec.query)
        wanted = [spec.entity_key.column, spec.event_time, *(each.name for each in spec.features), spec.target.column]
        assert list(found) == wanted
        period = Period(start=datetime(2025, 6, 1, tzinfo=UTC), end=datetime(2030, 1, 1, tzinfo=UTC))
        with resources.features.read(spec.query, period, labelled=True) as batches:
            batches.read_all()
