"""docs/reference/database.md says of each table and column what its comment in the database says."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from include.settings import REPOSITORY

PAGE = REPOSITORY / "docs" / "reference" / "database.md"
RELATIONS = """
    SELECT relation.relname, relation.relkind = 'v', obj_description(relation.oid, 'pg_class'),
           (SELECT string_agg('`' || attname || '`', ', ' ORDER BY array_position(indkey::int2[], attnum))
            FROM pg_index JOIN pg_attribute ON attrelid = indrelid AND attnum = ANY(indkey)
            WHERE indrelid = relation.oid AND indisprimary)
    FROM pg_class AS relation
    WHERE relnamespace = %(schema)s::regnamespace AND relkind IN ('r', 'p', 'v') ORDER BY relation.oid
"""
COLUMNS = """
    SELECT relname, attname, format_type(atttypid, atttypmod), col_description(attrelid, attnum)
    FROM pg_class AS relation JOIN pg_attribute ON attrelid = relation.oid
    WHERE relnamespace = %(schema)s::regnamespace AND relkind IN ('r', 'p', 'v') AND attnum > 0 AND NOT attisdropped
    ORDER BY relation.oid, attnum
"""


def schema_sections(url: str, schema: str) -> str:
    """Return the sections of database.md on the tables and views of a schema, in order of creation."""

    def lines() -> Iterator[str]:
        with psycopg.connect(url) as connection:
            columns = connection.execute(COLUMNS, {"schema": schema}).fetchall()
            for relation, is_view, comment, key in connection.execute(RELATIONS, {"schema": schema}).fetchall():
                yield f"### {schema}.{relation}\n"
                yield f"A view. {comment}\n" if is_view else f"{comment} Key: {key}.\n"
                yield "| Column | Type | Meaning |\n|---|---|---|"
                yield from (f"| `{name}` | {kind} | {said} |" for of, name, kind, said in columns if of == relation)
                yield ""

    return "\n".join(lines())


@pytest.mark.parametrize("schema", ["sluice", "sluice_jobs"])
def test_the_page_describes_each_table_and_column_in_the_words_of_the_database(database_url: str, schema: str) -> None:
    wanted = schema_sections(database_url, schema)
    assert wanted in PAGE.read_text(encoding="utf-8"), f"docs/reference/database.md should hold:\n{wanted}"
