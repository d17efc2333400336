"""Publication: all of a partition or none of it, once, whatever is killed when."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest
from sqlalchemy import Engine, text

from include.errors import DatabaseError, ReconciliationError
from include.records import Period, PublishedPartition
from include.scoring import ensure_partition, ensure_score_table, publish
from include.spec import ModelSpec
from tests.builders import declare_model

DAY = Period.of_day(datetime(2026, 2, 20, tzinfo=UTC).date())


@pytest.fixture
def spec(tmp_path, engine: Engine) -> ModelSpec:
    spec = declare_model(tmp_path / "models")
    ensure_score_table(engine, spec)
    ensure_partition(engine, spec, DAY)
    with engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO sluice.model_version SELECT 'parcels', n, 'a', 's', 'd', 'run ' || n, '{}', '{}'"
                " FROM generate_series(1, 2) AS n"
            )
        )
    return spec


def batches(rows: int = 6, late: float = 0.25) -> Iterator[pa.RecordBatch]:
    for first in range(0, rows, 4):
        count = min(4, rows - first)
        yield pa.RecordBatch.from_pydict(
            {
                "entity_key": [f'parcel, "{first + n}"' for n in range(count)],
                "event_time": pa.array([DAY.start] * count, pa.timestamp("us", "UTC")),
                "p_on_time": [1 - late] * count,
                "p_late": [late] * count,
                "predicted": ["on_time"] * count,
            }
        )


def published(engine: Engine, spec: ModelSpec, rows: int = 6, **changes) -> PublishedPartition:
    late = changes.pop("late", 0.25)
    arguments = {"version": 1, "artifact_digest": "a", "run_id": "run", "expected_rows": rows} | changes
    return publish(engine, spec, DAY, batches(rows, late), **arguments)


def read(engine: Engine, query: str) -> list[tuple]:
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(query))]


def test_each_row_says_version_time_and_the_probability_of_each_class(engine: Engine, spec: ModelSpec) -> None:
    published(engine, spec, rows=1, version=2)
    (row,) = read(
        engine, "SELECT entity_key, p_on_time, p_late, predicted, model_version, scored_at FROM scores.parcels"
    )
    assert row[:5] == ('parcel, "0"', 0.75, 0.25, "on_time", 2)
    assert row[5].tzinfo is not None


def test_the_ledger_says_what_was_published(engine: Engine, spec: ModelSpec) -> None:
    partition = published(engine, spec)
    assert (partition.row_count, partition.fence, partition.version) == (6, 1, 1)
    assert read(engine, "SELECT row_count, rows_digest FROM sluice.published_partition") == [(6, partition.rows_digest)]


def test_the_same_run_twice_publishes_once(engine: Engine, spec: ModelSpec) -> None:
    assert published(engine, spec) == published(engine, spec)
    assert read(engine, "SELECT count(*) FROM scores.parcels") == [(6,)]


def test_another_run_replaces_the_rows_with_a_higher_fence(engine: Engine, spec: ModelSpec) -> None:
    published(engine, spec, run_id="one")
    second = published(engine, spec, rows=5, run_id="two", late=0.5)
    assert second.fence == 2
    assert read(engine, "SELECT count(*), min(p_late) FROM scores.parcels") == [(5, 0.5)]
    assert read(engine, "SELECT fence, run_id FROM sluice.score_partition ORDER BY 1") == [(1, "one"), (2, "two")]


def test_a_partition_without_rows_can_be_published(engine: Engine, spec: ModelSpec) -> None:
    published(engine, spec)
    assert published(engine, spec, rows=0, run_id="emptied").row_count == 0
    assert read(engine, "SELECT count(*) FROM scores.parcels") == [(0,)]


def test_other_partitions_are_left_alone(engine: Engine, spec: ModelSpec) -> None:
    published(engine, spec)
    next_day = Period.of_day(datetime(2026, 2, 21, tzinfo=UTC).date())
    ensure_partition(engine, spec, next_day)
    publish(engine, spec, next_day, batches(3), version=1, artifact_digest="a", run_id="r", expected_rows=3)
    counts = "SELECT partition_start::date::text, count(*) FROM scores.parcels GROUP BY 1 ORDER BY 1"
    assert read(engine, counts) == [("2026-02-20", 6), ("2026-02-21", 3)]
    assert read(engine, "SELECT count(*) FROM scores.parcels_latest") == [(6,)]


def test_rows_that_do_not_reconcile_are_not_published(engine: Engine, spec: ModelSpec) -> None:
    before = published(engine, spec)
    with pytest.raises(ReconciliationError, match=r"expected the 7 rows that were validated; scored 6"):
        published(engine, spec, rows=6, run_id="two", expected_rows=7)
    assert read(engine, "SELECT fence, rows_digest FROM sluice.score_partition") == [(1, before.rows_digest)]
    assert read(engine, "SELECT count(*) FROM scores.parcels") == [(6,)]


def test_a_failure_in_the_middle_leaves_the_former_rows(engine: Engine, spec: ModelSpec) -> None:
    published(engine, spec, late=0.1)

    def failing() -> Iterator[pa.RecordBatch]:
        yield from batches(4, late=0.9)
        raise OSError("the source went away")

    with pytest.raises(OSError, match="went away"):
        publish(engine, spec, DAY, failing(), version=2, artifact_digest="a", run_id="two", expected_rows=8)
    assert read(engine, "SELECT count(*), max(p_late) FROM scores.parcels") == [(6, 0.1)]


def test_changed_classes_are_refused_rather_than_mixed(engine: Engine, spec: ModelSpec) -> None:
    classes = spec.target.model_copy(update={"classes": ("early", "late")})
    with pytest.raises(
        DatabaseError, match=r"expected the answer columns \['p_early', 'p_late'\].*give the changed model a new name"
    ):
        ensure_score_table(engine, spec.model_copy(update={"target": classes}))


def test_columns_carry_comments(engine: Engine, spec: ModelSpec) -> None:
    query = (
        "SELECT col_description(attrelid, attnum) FROM pg_attribute"
        " WHERE attrelid = 'scores.parcels'::regclass AND attnum > 0"
    )
    assert None not in {comment for (comment,) in read(engine, query)}


SLOW_SCORER = """
    import sys, time
    from pathlib import Path
    from include.models import read_spec
    from include.scoring import publish
    from include.warehouse import open_engine
    from tests_publication import DAY, batches

    def slowly():
        for number, batch in enumerate(batches(400, late=0.9)):
            if number == 50:
                print("half-way", flush=True)
                time.sleep(60)
            yield batch

    publish(open_engine(sys.argv[1]), read_spec(Path(sys.argv[2])), DAY, slowly(),
            version=2, artifact_digest="a", run_id="killed", expected_rows=400)
"""


def test_kill_9_in_the_middle_leaves_the_former_rows_and_the_retry_publishes_once(
    engine: Engine, spec: ModelSpec, database_url: str, tmp_path
) -> None:
    published(engine, spec, late=0.1)
    (tmp_path / "tests_publication.py").symlink_to(__file__)
    child = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(SLOW_SCORER), database_url, str(spec.folder / "spec.py")],
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": f"{tmp_path}:{Path.cwd()}"},
    )
    assert child.stdout is not None
    assert child.stdout.readline() == b"half-way\n"
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert read(engine, "SELECT count(*), max(p_late) FROM scores.parcels") == [(6, 0.1)]
    started = time.monotonic()
    retry = published(engine, spec, rows=400, late=0.9, version=2, run_id="killed")
    assert time.monotonic() - started < 30, "the killed task's lock must die with its connection"
    assert retry.fence == 2
    assert read(engine, "SELECT count(*), min(p_late) FROM scores.parcels") == [(400, 0.9)]
    assert read(engine, "SELECT count(*) FROM sluice.score_partition") == [(2,)]
