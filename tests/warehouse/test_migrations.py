"""Migrations: a new one is written with the next number and runs; each thing in the schema says what it is."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from include.settings import REPOSITORY
from include.warehouse import migrate
from include.warehouse.engine import MIGRATIONS
from include.warehouse.migrations.new import write_migration


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the migrations in a folder with an awkward name."""
    copy = tmp_path / "100% copied"
    shutil.copytree(MIGRATIONS, copy, ignore=shutil.ignore_patterns("__pycache__"))
    return copy


NEWEST = max(int(each.name[:4]) for each in (MIGRATIONS / "versions").glob("*.py"))


def revisions(url: str) -> list[tuple[str]]:
    with psycopg.connect(url) as connection:
        return connection.execute("SELECT version_num FROM public.schema_revision").fetchall()


def test_a_new_migration_gets_the_next_number_and_runs(folder: Path, database_url: str) -> None:
    first = write_migration("add_label_source", folder)
    second = write_migration("add_more", folder)
    assert [each.name for each in (first, second)] == [
        f"{NEWEST + 1:04d}_add_label_source.py", f"{NEWEST + 2:04d}_add_more.py",
    ]  # fmt: skip
    written = first.read_text(encoding="utf-8")
    assert written.startswith('"""Add label source."""')
    change = 'UPGRADE = """\nCREATE TABLE sluice.label_source (name text CHECK (name <> \'100%\'));\n'
    first.write_text(written.replace('UPGRADE = """\n', change, 1), encoding="utf-8")
    migrate(database_url, folder)
    assert revisions(database_url) == [(f"{NEWEST + 2:04d}",)]
    with psycopg.connect(database_url) as connection:
        assert connection.execute("SELECT count(*) FROM sluice.label_source").fetchone() == (0,)


@pytest.mark.parametrize("check", [("check",), ("format", "--check")], ids=["rules", "format"])
def test_a_new_migration_needs_no_correction_by_the_linter(folder: Path, check: tuple[str, ...]) -> None:
    ruff = (REPOSITORY / ".venv" / "bin" / "ruff", *check, "--config", REPOSITORY / "pyproject.toml")
    done = subprocess.run([*ruff, write_migration("add_x", folder)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", ["", "Add", "add label", "add__label", "../add", "2_add", "add-label"])
def test_a_name_that_makes_no_good_file_is_refused(folder: Path, name: str) -> None:
    with pytest.raises(ValueError, match="expected a name such as add_label_source"):
        write_migration(name, folder)
    assert len(list((folder / "versions").glob("*.py"))) == NEWEST


def test_make_writes_migrations() -> None:
    shown = subprocess.run(
        ["make", "-n", "migration", "NAME=add_x"], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert re.search(r'python -m include\.warehouse\.migrations\.new "add_x"$', shown.stdout, re.MULTILINE)


def test_every_migration_can_be_taken_back_and_made_again(new_database: Callable[[], str], folder: Path) -> None:
    from alembic import command

    from include.warehouse.engine import alembic_config, open_engine

    url = new_database()
    engine = open_engine(url)
    with engine.begin() as connection:
        config = alembic_config(folder)
        config.attributes["connection"] = connection
        command.downgrade(config, "base")
    engine.dispose()
    assert revisions(url) == []
    migrate(url, folder)
    assert revisions(url) == [(f"{NEWEST:04d}",)]


COMMENTED = """
    SELECT 'schema ' || nspname, obj_description(oid, 'pg_namespace') FROM pg_namespace WHERE nspname = ANY(%(schemas)s)
    UNION ALL
    SELECT relation.oid::regclass::text, obj_description(relation.oid, 'pg_class')
    FROM pg_class AS relation WHERE relnamespace = ANY(%(own)s::regnamespace[]) AND relkind IN ('r', 'p', 'v')
    UNION ALL
    SELECT relation.oid::regclass || '.' || attname, col_description(relation.oid, attnum)
    FROM pg_class AS relation JOIN pg_attribute ON attrelid = relation.oid
    WHERE relnamespace = ANY(%(own)s::regnamespace[]) AND relkind IN ('r', 'p', 'v')
      AND attnum > 0 AND NOT attisdropped
    UNION ALL
    SELECT proc.oid::regproc::text, obj_description(proc.oid, 'pg_proc')
    FROM pg_proc AS proc WHERE pronamespace = 'sluice'::regnamespace
"""


def test_every_schema_table_column_and_function_says_in_a_sentence_what_it_is(database_url: str) -> None:
    schemas = ["source", "scores", "sluice", "sluice_jobs", "staging", "sluice_scratch"]
    with psycopg.connect(database_url) as connection:
        found = connection.execute(COMMENTED, {"schemas": schemas, "own": ["sluice", "sluice_jobs"]}).fetchall()
    assert len(found) > 250
    assert [name for name, comment in found if not re.match(r"[A-Z`].*\.$", comment or "", re.DOTALL)] == []
