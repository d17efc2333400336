"""The bytes of a COPY say what the scores are, whatever the keys look like; the digest says the same of any order."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import numpy as np
import psycopg
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from include.score_table import columns_of
from include.scoring.binary_copy import HEADER, TRAILER, CopyWriter, encode_int4, encode_timestamptz
from include.scoring.prefetch import prefetch
from include.scoring.row_digests import combine_sums, format_digest, parse_digest
from include.scoring.rows import ScoredBatch

LABELS = ("on_time", "late", "lost")
UNTIMED = [column for column in columns_of(LABELS) if column.in_shadow and column.rows is not None]
TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=40)
NUMBERS = st.integers(-(2**63), 2**63 - 1)
TIMES = st.integers(-(10**15), 10**16)
SCORES = st.floats(allow_nan=False, allow_infinity=False, width=32)
calm = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@pytest.fixture
def connection(database_url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(database_url) as connection:
        for kind in ("text", "bigint"):
            answers = "a float8, b float8, c float8, predicted_label text" if kind == "text" else "a float8"
            connection.execute(f"CREATE TEMP TABLE taken_{kind} (key {kind}, at timestamptz, {answers})")
        yield connection


def batch(rows: list[tuple], kind: str) -> ScoredBatch:
    keys = pa.array([row[0] for row in rows], pa.string() if kind == "text" else pa.int64())
    scores = np.array([row[2:] for row in rows], dtype=np.float64).reshape(len(rows), -1 if rows else 3)
    times = np.array([row[1] for row in rows], dtype=np.int64)
    return ScoredBatch(keys, times, scores, scores.argmax(axis=1) if kind == "text" else None)


def round_trip(connection: psycopg.Connection, kind: str, rows: list[tuple]) -> tuple[list[tuple], tuple[int, int]]:
    """Return the rows as the database has them, sorted, and their digest."""
    writer = CopyWriter(LABELS if kind == "text" else (), [1, 2])
    content, digest = writer.block(batch(rows, kind))
    connection.execute(f"TRUNCATE taken_{kind}")
    with connection.cursor() as cursor, cursor.copy(f"COPY taken_{kind} FROM STDIN (FORMAT binary)") as copy:
        copy.write(HEADER + content + TRAILER)
    epoch = "(extract(epoch FROM at) * 1000000)::bigint"
    answers = "a, b, c, predicted_label" if kind == "text" else "a"
    found = connection.execute(f"SELECT key, {epoch}, {answers} FROM taken_{kind}").fetchall()
    return sorted(found), digest


@calm
@given(rows=st.lists(st.tuples(TEXTS, TIMES, SCORES, SCORES, SCORES), max_size=30))
def test_texts_of_any_length_arrive_with_all_scores_and_the_label(connection, rows: list[tuple]) -> None:
    found, digest = round_trip(connection, "text", rows)
    assert found == sorted((*row, LABELS[int(np.argmax(row[2:]))]) for row in rows)
    assert round_trip(connection, "text", rows[::-1])[1] == digest
    parts = [round_trip(connection, "text", rows[:7])[1], round_trip(connection, "text", rows[7:])[1]]
    assert combine_sums(parts) == digest == parse_digest(format_digest(digest))


@calm
@given(
    rows=st.lists(st.tuples(TEXTS, TIMES, SCORES, SCORES, SCORES), max_size=30),
    at=st.datetimes(datetime(1, 1, 2), datetime(9998, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001  # Hypothesis adds it
    version=st.integers(1, 2**31 - 1),
)
def test_columns_that_are_the_same_in_all_rows_follow_and_times_may_be_left_out(
    connection, rows: list[tuple], at: datetime, version: int
) -> None:
    writer = CopyWriter(LABELS, [], columns=UNTIMED, written=[encode_timestamptz(at), encode_int4(version)])
    connection.execute(
        "CREATE TEMP TABLE IF NOT EXISTS untimed"
        " (key text, a float8, b float8, c float8, predicted_label text, start timestamptz, version integer)"
    )
    connection.execute("TRUNCATE untimed")
    with connection.cursor() as cursor, cursor.copy("COPY untimed FROM STDIN (FORMAT binary)") as copy:
        copy.write(HEADER + writer.block(batch(rows, "text"))[0] + TRAILER)
    found = connection.execute(
        "SELECT key, a, b, c, predicted_label, start = %s, version FROM untimed", [at]
    ).fetchall()
    assert sorted(found) == sorted(
        (key, *scores, LABELS[int(np.argmax(scores))], True, version) for key, _, *scores in rows
    )


@calm
@given(rows=st.lists(st.tuples(NUMBERS, TIMES, SCORES), min_size=1, max_size=30))
def test_numbers_arrive_with_the_value_of_a_regression(connection, rows: list[tuple]) -> None:
    found, digest = round_trip(connection, "bigint", rows)
    assert found == sorted(rows)
    assert round_trip(connection, "bigint", rows[::-1])[1] == digest


@calm
@given(
    rows=st.lists(st.tuples(TEXTS, TIMES, SCORES, SCORES, SCORES), min_size=1, max_size=20),
    position=st.integers(0, 4),
    data=st.data(),
)
def test_another_value_anywhere_is_another_digest(rows: list[tuple], position: int, data: st.DataObject) -> None:
    writer = CopyWriter(LABELS, [1, 2])
    number = data.draw(st.integers(0, len(rows) - 1))
    other = list(rows[number])
    other[position] = data.draw((TEXTS, TIMES, SCORES, SCORES, SCORES)[position].filter(lambda x: x != other[position]))
    changed = [*rows[:number], tuple(other), *rows[number + 1 :]]
    assert writer.block(batch(rows, "text"))[1] != writer.block(batch(changed, "text"))[1]
    assert CopyWriter(LABELS, [1, 3]).block(batch(rows, "text"))[1] != writer.block(batch(rows, "text"))[1]


def test_an_error_ahead_is_raised_where_the_items_are_used_after_those_before_it() -> None:
    def items() -> Iterator[int]:
        yield from (1, 2)
        raise OSError("the source went away")

    taken = []
    with pytest.raises(OSError, match="went away"), prefetch(items()) as found:
        taken.extend(found)
    assert taken == [1, 2]


def test_leaving_early_closes_what_is_read_and_never_reads_far_ahead() -> None:
    made: list[int] = []
    closed: list[bool] = []

    def items() -> Iterator[int]:
        try:
            for number in range(1_000):
                made.append(number)
                yield number
        finally:
            closed.append(True)

    with prefetch(items(), queue_size=2) as found:
        assert next(found) == 0
    assert closed == [True]
    assert len(made) <= 5
