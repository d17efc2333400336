"""In features.sql, :period_start and :period_end are parameters where PostgreSQL reads an expression, and nowhere else.

PostgreSQL itself is the judge: the query with its values runs, and every string in it is what was written.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine

from include.errors import SpecError
from include.models import read_spec
from include.records import Period
from include.spec.features_query import QueryTextError, bind_period, decode_query, query_parameters
from include.warehouse.feature_source import PostgresFeatureSource
from tests.builders import QUERY, ROWS_A_DAY, declare_model, load_parcels

DAY = Period.of_day(date(2026, 2, 20))
START, END = DAY.start, DAY.end

# Each is an expression in SQL, and its value as text.
CONTENT = st.text(st.sampled_from(list("ab:;-/*$'\"\\ \n?%{}é[]")), max_size=12) | st.sampled_from(
    [":period_start", "::", "a :period_end b", "--", "/*", "*/", "$$", "'", "\\", ";"]
)


def quoted(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def escaped(value: str) -> str:
    return "E'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def dollar_quoted(value: str) -> str:
    tag = next(tag for tag in ("$$", "$a$", "$b1$", "$_é$") if tag not in value + "$")
    return f"{tag}{value}{tag}"


def continued(value: str) -> str:
    middle = len(value) // 2
    return f"{quoted(value[:middle])}  -- it's one string: :period_end\n {quoted(value[middle:])}"


def named(value: str) -> str:
    name = '"' + (value or "x").replace('"', '""') + '"'
    return f"(SELECT {name} FROM (SELECT {quoted(value)}::text AS {name}) AS q)"


STRINGS = st.tuples(st.sampled_from([quoted, escaped, dollar_quoted, continued, named]), CONTENT).map(
    lambda pair: (pair[0](pair[1]), pair[1])
)
TIMES = st.sampled_from(
    [
        (":period_start", START),
        (":period_end::timestamptz", END),
        ("(:period_start- interval '1 day')", START - timedelta(days=1)),
        ("cast(:period_end AS timestamptz)", END),
    ]
).map(lambda pair: (f"({pair[0]})::text", pair[1].strftime("%Y-%m-%d %H:%M:%S+00")))
OTHERS = st.sampled_from(
    [
        ("(ARRAY[1,2,3])[:2]::text", "{1,2}"),
        ("(ARRAY[1,2,3])[2:]::text", "{2,3}"),
        ("1e0::text", "1"),
        ("a$$b$$::text", "column"),
        ("'x'::varchar::text", "x"),
        ("(2*/* :period_end /* nested ' */ $$ */3)::text", "6"),
        ("(1-- :period_start ' \" $$ /*\n+1)::text", "2"),
    ]
)
GAPS = st.sampled_from([" ", "\n", "/**/", "/* it's :period_start; /* nested */ */", "-- :period_end; it's $$\n", "\t"])


@pytest.fixture(scope="module")
def connection(server_url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute("SET timezone = 'UTC'")
        yield connection


@settings(max_examples=300)
@given(
    st.lists(st.tuples(STRINGS | TIMES | OTHERS, GAPS), min_size=1, max_size=6), st.sampled_from(["", ";", " ; -- :a"])
)
def test_postgresql_reads_every_string_and_every_time_as_written(
    connection: psycopg.Connection, parts: list[tuple[tuple[str, str], str]], tail: str
) -> None:
    columns = ",".join(f"{gap}{expression}{gap}" for (expression, _), gap in parts)
    query = f"SELECT{parts[0][1]}{columns}\nFROM (SELECT 'column'::text AS a$$b$$) AS one{tail}"
    bound = bind_period(query, START, END)
    row = connection.execute(f"SELECT * FROM (\n{bound}\n) AS q").fetchone()
    assert row is not None
    assert list(row) == [value for (_, value), _ in parts]


@given(st.text(max_size=60))
def test_any_text_is_taken_or_refused_with_a_reason(text: str) -> None:
    try:
        bound = bind_period(text, START, END)
    except QueryTextError as error:
        reason = str(error)
    else:
        assert query_parameters(bound) == ()
        return
    assert " line " in reason


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("SELECT ':period_start'", ()),
        ("SELECT 1 -- :period_start\n, :period_end", (":period_end",)),
        ("SELECT x::period_start, :period_started, a[1:2]", ()),
        ("SELECT :period_end, :period_start, :period_end", (":period_start", ":period_end")),
        ("SELECT :PERIOD_START", ()),
    ],
)
def test_parameters_are_found_outside_of_strings_comments_and_casts(query: str, found: tuple[str, ...]) -> None:
    assert query_parameters(query) == found


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("SELECT 1;\n\nSELECT 2", "another statement after the semicolon, in line 3"),
        ("SELECT 1\n, 'it", "a string that is not closed, from line 2 on"),
        ("SELECT 1\n, E'it\\'", "a string that is not closed, from line 2 on"),
        ("SELECT 'a''", "a string that is not closed, from line 1 on"),
        ("SELECT 1 /* one /* two */", "a comment that is not closed, from line 1 on"),
        ("SELECT $q$ 1 $$", "a dollar-quoted string that is not closed, from line 1 on"),
        ('SELECT "a', "a quoted name that is not closed, from line 1 on"),
    ],
)
def test_a_text_that_is_not_one_query_is_named(query: str, reason: str) -> None:
    with pytest.raises(QueryTextError) as caught:
        query_parameters(query)
    assert str(caught.value) == reason


def test_a_long_line_of_dashes_after_a_string_takes_no_time() -> None:
    assert query_parameters("SELECT 'a'\n" + "-" * 50_000 + "\n, :period_end") == (":period_end",)


def test_a_file_with_a_byte_order_mark_is_read_and_another_encoding_is_named() -> None:
    assert decode_query("SELECT 'é'".encode("utf-8-sig")) == "SELECT 'é'"
    with pytest.raises(QueryTextError, match="byte 9, which is not UTF-8"):
        decode_query("SELECT 'é'".encode("latin-1"))
    with pytest.raises(QueryTextError, match="a null character in line 2"):
        decode_query(b"SELECT\n\0")


@pytest.mark.parametrize("ending", ["; -- the end", ";\n\n", "\n-- see :ticket", ";;", " /* :a */ ;"])
def test_colons_comments_and_a_semicolon_of_a_query_are_taken(
    tmp_path: Path, engine: Engine, database_url: str, ending: str
) -> None:
    load_parcels(engine)
    query = QUERY.rstrip().replace(
        "weight,", """('{"a":1}'::json ->> 'a')::float * weight AS weight,  -- see :ticket, it's %s\n"""
    )
    query += r" AND carrier ~ '(?:ant|bee|cat)' AND (ARRAY[1, 2])[:1] = ARRAY[1]" + ending
    spec = declare_model(tmp_path, query=query)
    path = spec.folder / "features.sql"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    spec = read_spec(spec.folder / "spec.py")
    source = PostgresFeatureSource(database_url)
    assert source.count(spec.query, DAY) == ROWS_A_DAY
    for labelled in (True, False):
        with source.read(spec.query, DAY, labelled=labelled) as rows:
            assert rows.read_all().num_rows == ROWS_A_DAY
    with engine.begin() as connection:
        source.materialize(spec.query, DAY, connection, "public.a_day")
        assert connection.exec_driver_sql("SELECT count(*) FROM public.a_day").scalar() == ROWS_A_DAY


def test_a_declaration_names_what_is_wrong_with_its_query(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"expected one query in UTF-8; found another statement after the semicolon"):
        declare_model(tmp_path, query=QUERY + "; SELECT 1")
    with pytest.raises(SpecError, match=r"field ':period_end': expected a query that binds :period_end"):
        declare_model(tmp_path, query=QUERY.replace(":period_end", "now() -- :period_end"))


def test_a_time_of_any_zone_is_bound_in_utc() -> None:
    there = datetime(2026, 2, 20, 1, tzinfo=UTC).astimezone()
    assert bind_period("SELECT :period_start", there, there) == "SELECT TIMESTAMPTZ '2026-02-20T01:00:00+00:00'"
