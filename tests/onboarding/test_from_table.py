"""`sluice new MODEL --from-table`: what it writes is trained and scored as it stands, and what it refuses."""

from __future__ import annotations

import subprocess
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from include.cli import main
from include.errors import NotEnoughDataError, SourceTableError, SpecError
from include.models import read_spec
from include.onboarding import parse_time_from_order
from include.settings import REPOSITORY
from tests.onboarding.conftest import shop, spec_text


def test_a_table_becomes_a_model_that_trains_and_scores(from_table, run_sql, train_and_score) -> None:
    run_sql(shop())
    done = from_table("source.orders")
    spec = read_spec(done.folder / "spec.py")
    assert (spec.task, spec.entity_key.column, spec.event_time) == ("binary", "order_id", "ordered_at")
    assert spec.target.classes == ("no", "yes")
    assert {(feature.name, feature.kind, feature.nullable) for feature in spec.features} == {
        ("amount", "numeric", False),
        ("items", "numeric", True),
        ("channel", "categorical", False),
        ("regular", "boolean", False),
    }
    query = (done.folder / "features.sql").read_text()
    assert "--   note: 1,200 different texts" in query
    assert "--   version: the same value in every row" in query
    version, rows = train_and_score(done)
    assert (version.version, rows) == (1, 12)


def test_the_command_prints_what_it_decided_and_what_comes_next(
    run_sql, database_url: str, tmp_path: Path, monkeypatch, capsys
) -> None:
    run_sql(shop())
    monkeypatch.setenv("SLUICE_DATABASE_URL", database_url)
    monkeypatch.setenv("SLUICE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SLUICE_MODELS_DIR", str(tmp_path / "models"))
    (tmp_path / "models").mkdir()
    assert main(["new", "shop", "--from-table", "source.orders", "--target", "outcome"]) == 0
    said = capsys.readouterr().out
    for line in (
        "key: order_id (differs in every row)",
        "event time: ordered_at",
        "target: outcome (as --target says)",
        "task: binary (2 classes; yes is the positive one)",
        "scores: each partition is one UTC day, 12 to 12 rows each",
        "  sluice train shop --as-of 2026-03-01",
    ):
        assert line in said.splitlines()
    assert main(["new", "shop", "--from-table", "source.orders"]) == 1
    assert "a name that no folder has yet" in capsys.readouterr().err
    assert main(["new", "other", "--from-table", "source.nothing"]) == 1
    assert "expected a table or view of this name; found none" in capsys.readouterr().err
    assert main(["new", "other", "--target", "outcome"]) == 1
    assert "--target: expected --from-table TABLE or --from-csv FILE beside it" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["new", "other", "--from-table", "source.orders", "--from-csv", "x.csv"])


def test_the_files_are_formatted_as_ours(from_table, run_sql) -> None:
    run_sql(shop(300))
    folder = from_table("source.orders").folder
    ruff = [str(REPOSITORY / ".venv" / "bin" / "ruff"), "format", "--check", "--config", "pyproject.toml", str(folder)]
    done = subprocess.run(ruff, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("target", "task"), [("amount", "regression"), ("channel", "multiclass"), ("regular", "binary")]
)
def test_the_type_of_the_target_decides_the_task(from_table, run_sql, target: str, task: str) -> None:
    run_sql(shop(300))
    assert read_spec(from_table("source.orders", target=target).folder / "spec.py").task == task


@pytest.mark.slow
def test_integers_as_labels_and_a_date_as_the_time(from_table, run_sql, train_and_score) -> None:
    run_sql(
        shop()
        + "ALTER TABLE source.orders ALTER ordered_at TYPE date; ALTER TABLE source.orders ADD label double precision;"
        "UPDATE source.orders SET label = (outcome = 'yes')::int"
    )
    done = from_table("source.orders")
    spec = read_spec(done.folder / "spec.py")
    assert (spec.target.column, spec.target.classes) == ("label", ("0", "1"))
    query = (done.folder / "features.sql").read_text()
    assert "ordered_at::timestamp AT TIME ZONE 'UTC' AS ordered_at" in query
    assert "label::bigint AS label" in query
    assert "a date, read as midnight in UTC" in query
    # The column `outcome` tells the label.
    assert "outcome" not in [feature.name for feature in spec.features]
    assert "--   outcome: possible label leakage" in query
    assert train_and_score(done)[1] == 12


@pytest.mark.slow
def test_every_type_of_postgresql_and_any_name(from_table, run_sql, train_and_score) -> None:
    run_sql(
        shop()
        + """
        CREATE SCHEMA "My Shop";
        CREATE TYPE "My Shop".mood AS ENUM ('sad', 'ok', 'happy');
        CREATE DOMAIN "My Shop".share AS numeric(5, 2);
        CREATE TABLE "My Shop"."Orders: all" AS
        SELECT order_id AS "Order ID", ordered_at AT TIME ZONE 'UTC' AS "when", amount::"My Shop".share AS "Amount (%)",
               items::smallint AS "select", channel::char(8) AS "Kanal", channel::varchar(9) AS "KANAL",
               regular AS "order", (ARRAY['sad', 'ok', 'happy']::"My Shop".mood[])[1 + items % 3] AS "mood:now",
               gen_random_uuid() AS uuid, jsonb_build_object('a', items) AS doc, ARRAY[items] AS list,
               ordered_at AS seen, ordered_at::date AS day, '1 hour'::interval AS span, '\\x00'::bytea AS bytes,
               1234567890123456 + items AS big, CASE WHEN items = 3 THEN 'NaN' ELSE amount::float4 END AS "it''s",
               CASE WHEN items = 4 THEN 'Infinity' ELSE amount::float8 * items END AS "x\ny", NULL::int AS nothing,
               int4range(1, 3) AS range, point(1, 2) AS place, '10.0.0.1'::inet AS address, 5::money AS price,
               B'101' AS bits, amount AS xmin2, outcome AS "Ergebnis"
        FROM source.orders
        """
    )
    done = from_table('"My Shop"."Orders: all"', target="Ergebnis", time="when")
    spec = read_spec(done.folder / "spec.py")
    kinds = {feature.name: feature.kind for feature in spec.features}
    assert kinds == {
        "amount": "numeric",
        "select": "numeric",
        "kanal": "categorical",
        "kanal_2": "categorical",
        "order": "boolean",
        "mood_now": "categorical",
        "it_s": "numeric",
        "x_y": "numeric",
        "xmin2": "numeric",
    }
    assert {feature.name for feature in spec.features if feature.nullable} == {"select", "mood_now", "it_s", "x_y"}
    query = (done.folder / "features.sql").read_text()
    assert "--   big: 21 different values, of which single precision tells" in query
    assert "rights: Airflow's tasks read My Shop.Orders: all" in "\n".join(done.findings)
    assert train_and_score(done)[1] == 12


@pytest.mark.slow
def test_a_key_that_occurs_again_at_another_time(from_table, run_sql, train_and_score) -> None:
    run_sql(
        """
        SELECT setseed(0.1);
        CREATE TABLE source.readings AS
        SELECT 'meter-' || m AS meter, timestamptz '2025-11-01' + d * interval '1 day' AS at, random() * 9 AS power,
               random() * 5 + m AS load
        FROM generate_series(1, 12) AS m, generate_series(0, 99) AS d;
        UPDATE source.readings SET load = load + power
        """
    )
    done = from_table("source.readings")
    assert "key: meter (differs at the same event time)" in done.findings
    version, rows = train_and_score(done)
    assert (version.evaluation.rows >= 200, rows) == (True, 12)


@pytest.mark.slow
def test_a_key_that_occurs_again_within_the_hour_is_joined_with_the_time(from_table, run_sql, train_and_score) -> None:
    run_sql(
        """
        SELECT setseed(0.1);
        CREATE TABLE source.ticks AS
        SELECT 'meter-' || m AS meter, timestamptz '2026-02-01' + d * interval '20 minutes' AS at,
               random() * 9 AS power, random() AS load
        FROM generate_series(1, 4) AS m, generate_series(0, 399) AS d;
        UPDATE source.ticks SET load = load + power
        """
    )
    done = from_table("source.ticks")
    assert "key: row_key, made of meter, the event time" in done.findings
    assert train_and_score(done)[1] > 0


@pytest.mark.slow
def test_a_series_without_a_key_has_its_time_as_the_key(from_table, run_sql, train_and_score) -> None:
    run_sql(
        """
        CREATE TABLE source.weather AS
        SELECT timestamptz '2025-12-01' + d * interval '1 hour' AS at, (d % 24)::float8 + random() AS sun,
               (d % 24)::float8 * 2 + random() * 20 AS temperature
        FROM generate_series(0, 1999) AS d
        """
    )
    done = from_table("source.weather")
    assert "key: row_key, the event time as text: no row shares its time with another" in done.findings
    assert train_and_score(done)[1] == 8  # the last day has eight hours


@pytest.mark.slow
def test_several_columns_as_the_key(from_table, run_sql, train_and_score) -> None:
    run_sql(
        """
        SELECT setseed(0.1);
        CREATE TABLE source.sales
            (shop int, item int, day date, price float8, sold float8, PRIMARY KEY (shop, item, day));
        INSERT INTO source.sales
        SELECT s, i, date '2025-12-01' + d, random() * 9, random() FROM generate_series(1, 3) AS s,
               generate_series(1, 4) AS i, generate_series(0, 59) AS d;
        UPDATE source.sales SET sold = sold + price
        """
    )
    done = from_table("source.sales")
    assert "key: row_key, made of shop, item" in done.findings
    assert train_and_score(done)[1] == 12


@pytest.mark.slow
def test_a_table_without_a_time_says_so_and_takes_one_of_the_order(from_table, run_sql, train_and_score) -> None:
    run_sql(shop() + "ALTER TABLE source.orders DROP ordered_at")
    with pytest.raises(SourceTableError, match=r"expected an event time.*--time-from-order 2026-01-01/1h"):
        from_table("source.orders")
    done = from_table("source.orders", time_from_order=parse_time_from_order("2025-11-01/1h/shuffled"))
    assert "an order that means nothing" in (done.folder / "features.sql").read_text()
    assert train_and_score(done)[1] == 24


def test_a_text_that_looks_like_a_time_is_named_with_the_statement_that_makes_it_one(from_table, run_sql) -> None:
    run_sql(shop(100) + "ALTER TABLE source.orders ALTER ordered_at TYPE text")
    with pytest.raises(SourceTableError, match=r"ordered_at looks like a time and is text: ALTER TABLE"):
        from_table("source.orders")


def test_a_table_without_a_key_says_which_options_there_are(from_table, run_sql) -> None:
    run_sql(
        "CREATE TABLE source.plain AS SELECT timestamptz '2026-01-01' + (n / 4) * interval '1 hour' AS at,"
        " n % 7 AS a, n % 3 AS b FROM generate_series(1, 300) AS n"
    )
    with pytest.raises(SourceTableError, match=r"expected an entity key.*--key customer,product.*GENERATED ALWAYS"):
        from_table("source.plain")
    with pytest.raises(SourceTableError, match=r"--key b: expected columns that differ in every row"):
        from_table("source.plain", key=("b",))


REFUSED = {
    "empty": ("TRUNCATE source.orders", "expected at least 20 rows"),
    "one row": ("DELETE FROM source.orders WHERE order_id <> 'order-1'", "expected at least 20 rows"),
    "one time": ("UPDATE source.orders SET ordered_at = '2026-01-01'", "expected an event time"),
    "no label": ("UPDATE source.orders SET outcome = NULL", "found 0"),
    "one label": ("UPDATE source.orders SET outcome = 'no'", "expected at least 2 different values; found 1"),
    "a late class": (
        "UPDATE source.orders SET outcome = CASE WHEN ordered_at > '2026-02-25' THEN 'yes' ELSE 'no' END",
        "expected rows of every class among the older four fifths; found none of yes",
    ),
    "no feature": (
        "ALTER TABLE source.orders DROP amount, DROP items, DROP channel, DROP regular",
        "expected a column that can be a feature; found none",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_a_model_is_refused_and_writes_nothing(from_table, run_sql, tmp_path: Path, case: str) -> None:
    statement, expected = REFUSED[case]
    run_sql(shop(300) + statement)
    with pytest.raises((SourceTableError, NotEnoughDataError), match=expected):
        from_table("source.orders", target="outcome")
    assert not (tmp_path / "models" / "shop").exists()


def test_a_table_of_1600_columns_is_refused(from_table, run_sql) -> None:
    columns = ", ".join(f"c{number} int" for number in range(1600))
    run_sql(f"CREATE TABLE source.wide ({columns})")
    with pytest.raises(SourceTableError, match=r"expected at most 1,000 columns; found 1,600.*Make a view"):
        from_table("source.wide")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"target": "nothing"}, "--target nothing: expected the name of a column; found none"),
        ({"time": "amount"}, "--time amount: expected a timestamp or a date; found type numeric"),
        ({"task": "regression", "target": "channel"}, "expected a number for a regression; found type text"),
        ({"task": "multiclass", "target": "outcome"}, "expected at least 3 classes for --task multiclass; found 2"),
        ({"target": "note"}, "expected at most 50 classes"),
        ({"key": ("items",)}, "--key items: expected a value in every row; found null"),
    ],
)
def test_an_option_that_does_not_fit_is_named(from_table, run_sql, options: dict[str, object], expected: str) -> None:
    run_sql(shop(300))
    with pytest.raises(SourceTableError, match=expected):
        from_table("source.orders", **options)


def test_a_rare_class_is_left_out_and_said(from_table, run_sql) -> None:
    run_sql(shop(300) + "UPDATE source.orders SET channel = 'fax' WHERE order_id IN ('order-5', 'order-6')")
    done = from_table("source.orders", target="channel")
    assert 'classes=("phone", "shop", "web")' in spec_text(done)
    assert any("1 more values have fewer than 10 rows or no printable name: fax" in line for line in done.findings)


def test_a_view_that_fails_ends_in_a_sentence(from_table, run_sql) -> None:
    run_sql(shop(50) + "CREATE VIEW source.broken AS SELECT *, 1 / (items - items) AS x FROM source.orders")
    with pytest.raises(SourceTableError, match="the database found: division by zero"):
        from_table("source.broken")


def test_a_role_without_rights_is_given_the_statement(from_table, run_sql, resources) -> None:
    run_sql(shop(50) + "CREATE SCHEMA shut; CREATE TABLE shut.orders AS SELECT * FROM source.orders")
    with resources.engine.begin() as connection:
        connection.execute(text("CREATE ROLE onlooker"))
    try:
        run_sql("GRANT USAGE ON SCHEMA shut TO onlooker")
        from include.onboarding.reading import read_profile

        with resources.engine.connect() as connection:
            connection.execute(text("SET ROLE onlooker"))
            with pytest.raises(SourceTableError, match=r"GRANT SELECT ON shut\.orders TO onlooker"):
                read_profile(connection, "shut", "orders")
    finally:
        run_sql("DROP OWNED BY onlooker; DROP ROLE onlooker")


def test_a_name_of_a_model_is_checked_first(from_table) -> None:
    with pytest.raises(SpecError, match="a lower-case letter"):
        from_table("source.nothing", "My Model")


def test_hours_of_many_rows_are_scored_by_the_hour(from_table, run_sql) -> None:
    run_sql(shop(8000, step=timedelta(seconds=30)))
    assert 'score_schedule="0 * * * *"' in spec_text(from_table("source.orders"))
