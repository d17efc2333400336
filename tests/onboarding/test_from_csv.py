"""`sluice new MODEL --from-csv`: the file becomes a table, or nothing does and the line is named."""

from __future__ import annotations

import csv
import io
import random
from pathlib import Path

import pytest
from sqlalchemy import text

from include.errors import NotEnoughDataError, SluiceError, SourceTableError
from include.models import read_spec
from include.onboarding import parse_time_from_order
from include.onboarding.csv_file import read_columns
from include.resources import Resources
from tests.onboarding.conftest import numbers_of

HOURLY = parse_time_from_order("2026-01-01/1h")


def flowers(rows: int = 300, *, separator: str = ",", sort: bool = False) -> str:
    """Return a file with odd names, missing values, and a class that the sizes tell."""
    chance = random.Random(5)  # noqa: S311 (no secret)
    lines = []
    for _ in range(rows):
        kind = chance.choices(("Iris setosa", "Iris virginica", 'Iris "x"'), weights=(5, 1, 4))[0]
        size = len(kind) / 5 + chance.random()
        missing = "NA" if chance.random() < 0.05 else f"{chance.random() * 3:.2f}"
        quoted = '"' + kind.replace('"', '""') + '"'
        lines.append(separator.join((f"{size:.2f}", missing, str(chance.randrange(9)), "00123", quoted)))
    header = separator.join(("Sepal.Length", "Sepal Width", "petals", "", "petals"))
    return header + "\n" + "\n".join(sorted(lines, key=lambda line: line[-6:]) if sort else lines) + "\n"


def test_a_file_becomes_a_table_and_a_model(from_csv, resources: Resources, train_and_score) -> None:
    done = from_csv("\ufeff" + flowers(), time_from_order=HOURLY, target="petals_2")
    said = "\n".join(done.findings)
    assert "loaded: 300 rows and 5 columns of rows.csv into source.shop" in said
    assert (
        "renamed: Sepal.Length -> sepal_length, Sepal Width -> sepal_width, no name -> column_4, petals -> petals_2"
        in said
    )
    assert "made: row_id, the number of the row" in said
    with resources.engine.connect() as connection:
        columns = connection.execute(
            text("SELECT column_name, data_type FROM information_schema.columns WHERE table_name = 'shop'")
        ).all()
    assert [tuple(column) for column in columns] == [
        ("row_id", "bigint"),
        ("event_time", "timestamp with time zone"),
        ("sepal_length", "double precision"),
        ("sepal_width", "double precision"),
        ("petals", "bigint"),
        ("column_4", "text"),  # 00123 is no number
        ("petals_2", "text"),
    ]
    spec = read_spec(done.folder / "spec.py")
    assert spec.target.classes == ('Iris "x"', "Iris setosa", "Iris virginica")
    assert train_and_score(done)[1] == 12


def test_every_text_arrives_in_the_table_as_it_is_in_the_file(from_csv, resources: Resources, tmp_path: Path) -> None:
    chance = random.Random(7)  # noqa: S311 (no secret)
    written = ["".join(chance.choices('\\N\t\n\r",;. aé💡\u2028', k=chance.randrange(9))) for _ in range(3000)]
    buffer = io.StringIO(newline="")
    csv.writer(buffer).writerow(("note", "size", "label"))
    csv.writer(buffer).writerows((note, chance.random(), chance.choice("yn")) for note in written)
    from_csv(buffer.getvalue(), time_from_order=HOURLY, target="label")
    with resources.engine.connect() as connection:
        found = connection.execute(text("SELECT note FROM source.shop ORDER BY row_id")).scalars().all()
    assert found == [note or None for note in written]


def test_a_file_without_a_time_is_refused_and_makes_no_table(from_csv, resources: Resources, tmp_path: Path) -> None:
    with pytest.raises(SourceTableError, match=r"expected an event time.*--time-from-order 2026-01-01/1h"):
        from_csv(flowers())
    assert not (tmp_path / "models" / "shop").exists()
    assert numbers_of(resources, "SELECT count(*) FROM pg_class WHERE relname = 'shop'") == 0


def test_rows_that_are_sorted_by_the_target_are_refused_with_the_way_out(from_csv) -> None:
    with pytest.raises(NotEnoughDataError, match=r"shuffle them: --time-from-order 2026-01-01/1h/shuffled"):
        from_csv(flowers(sort=True), time_from_order=HOURLY, target="petals_2")
    shuffled = parse_time_from_order("2026-01-01/1h/shuffled")
    assert from_csv(flowers(sort=True), time_from_order=shuffled, target="petals_2").folder.exists()


def test_a_table_of_that_name_stays_as_it_is(from_csv, run_sql, resources: Resources) -> None:
    run_sql("CREATE TABLE source.shop AS SELECT 7 AS mine")
    with pytest.raises(SourceTableError, match="expected no table or view of this name"):
        from_csv(flowers(), time_from_order=HOURLY)
    assert numbers_of(resources, "SELECT mine FROM source.shop") == 7


def test_a_time_and_a_key_in_the_file_are_used(from_csv, resources: Resources) -> None:
    lines = [f"A-{number};{number % 28 + 1}/2/2026 ;{number % 7};{number * 3 % 11}" for number in range(200)]
    content = "Code;When;x;y\n" + "\n".join(line.replace(" ;", ";") for line in lines)
    done = from_csv(content, target="y", task="regression")
    assert "key: code (differs in every row)" in done.findings
    assert "event time: when (a date, read as midnight in UTC)" in done.findings
    assert numbers_of(resources, "SELECT count(*) FROM source.shop WHERE \"when\" >= '2026-02-01'") == 200


BROKEN = {
    "fields": (b"a,b\n1,2\n3\n", "line 3: expected 2 fields, as in the first line; found 1, which begin with '3'"),
    "more fields": (b"a,b\n1,2\n3,4,5\n", "line 3: expected 2 fields"),
    "after a text of two lines": (b'a,b\n"x\ny",2\n3\n', "line 4: expected 2 fields"),
    "quote": (b'a,b\n1,2\n"3,4\n5,6\n', "line 3: expected a row of a CSV file; found unexpected end of data"),
    "quote within": (b'a,b\n1,2\n"3"x,4\n', "line 3: expected a row of a CSV file"),
    "latin": ("a,b\n1,2\nä,3\n".encode("latin-1"), "line 3: expected text in UTF-8; found byte 0xe4.*iconv"),
    "utf-16": ("a,b\n1,2\n".encode("utf-16"), "found text in UTF-16.*iconv -f UTF-16"),
    "empty": (b"", "line 1: expected the names of the columns; found an empty file"),
    "names only": (b"a,b\n", "expected rows below the names of the columns; found none"),
    "null": (b"a,b\n1,\x00\n", "line 2: expected"),
    "wide": (",".join(map(str, range(1001))).encode() + b"\n", "expected at most 1,000 columns; found 1,001"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_file_is_refused_with_its_line(tmp_path: Path, case: str) -> None:
    content, expected = BROKEN[case]
    file = tmp_path / "rows.csv"
    file.write_bytes(content)
    with pytest.raises(SourceTableError, match=expected):
        read_columns(file)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SourceTableError, match=r"No such file.*Correct the path of --from-csv"):
        read_columns(tmp_path / "none.csv")
    with pytest.raises(SourceTableError, match="Is a directory"):
        read_columns(tmp_path)


TYPES = {
    "integers": (("1", "-2", "+3", "NA"), "bigint"),
    "large": (("123456789012345678", "1"), "bigint"),
    "larger": (("12345678901234567890", "1"), "double precision"),
    "numbers": (("1", "2.5", ".5", "1e-3", "-0.0"), "double precision"),
    "beyond double": (("1e400", "1"), "text"),
    "below double": (("1e-400", "1"), "text"),
    "postcodes": (("01234", "99999"), "text"),
    "booleans": (("true", "False", ""), "boolean"),
    "words": (("yes", "no"), "text"),
    "dates": (("2026-01-31", "2024-02-29"), "date"),
    "no dates": (("2026-02-30", "2024-02-29"), "text"),
    "moments": (("2026-01-31T12:00", "2026-01-31 12:00:05.25+02:00", "2026/02/01"), "timestamptz"),
    "day first": (("31/1/2026", "1/2/2026"), "date"),
    "month first": (("1/31/2026", "1/2/2026"), "date"),
    "either": (("3/1/2026", "1/2/2026"), "text"),
    "none": (("", "NA"), "text"),
    "mixed": (("1", "x"), "text"),
}


@pytest.mark.parametrize("case", TYPES)
def test_the_type_of_a_column_holds_all_of_its_values(tmp_path: Path, case: str) -> None:
    values, expected = TYPES[case]
    file = tmp_path / "rows.csv"
    file.write_text("a|b\n" + "".join(f"{value}|1\n" for value in values))
    columns, rows = read_columns(file)
    assert ([column.type for column in columns], rows) == ([expected, "bigint"], len(values))


@pytest.mark.parametrize("given", ["2026-01-01", "2026-01-01/1", "x/1h", "2026-01-01/0h", "2026-01-01/1h/sorted"])
def test_a_step_that_is_none_is_named(given: str) -> None:
    with pytest.raises(SluiceError, match=r"expected START/STEP, such as 2026-01-01/1h"):
        parse_time_from_order(given)
