"""The past, scored: with the champion of its time or with a named version, and the ledger says which."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine, text

from include.cli import main
from include.registry import Ledger
from tests.builders import SPEC, TODAY, declare_model, load_parcels
from tests.past import FIRST, LAST, counted, two_versions


@pytest.fixture
def sluice(database_url: str, engine: Engine, tmp_path, monkeypatch, capsys):
    """Calls ``sluice`` with words on a model of two versions; returns exit code, output and errors."""
    monkeypatch.setenv("SLUICE_DATABASE_URL", database_url)
    monkeypatch.setenv("SLUICE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SLUICE_MODELS_DIR", str(tmp_path / "models"))
    load_parcels(engine)
    declare_model(tmp_path / "models")
    declare_model(tmp_path / "models", "hourly", spec=SPEC.replace("score_schedule=None", 'score_schedule="0 * * * *"'))
    load_parcels(engine, "hourly")

    def call(*words: str) -> tuple[int, str, str]:
        code = main(words)
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


def test_each_day_is_scored_by_the_champion_of_when_it_ended(sluice, engine: Engine) -> None:
    two_versions(engine)
    code, said, complained = sluice("backfill", "parcels", "--from", "2026-02-09", "--to", "2026-02-11")
    assert (code, complained) == (0, "")
    assert "parcels 2026-02-09: 40 rows published with version 1 (sequence 1, champion then) in " in said
    assert "parcels 2026-02-10: 40 rows published with version 2 (sequence 1, champion then) in " in said
    code, said, _ = sluice("backfill", "parcels", "--from", "2026-02-10", "--to", "2026-02-10", "--version", "1")
    assert "parcels 2026-02-10: 40 rows published with version 1 (sequence 2, named) in " in said
    assert counted(engine) == [(True, 1, "champion_then", 1), (False, 1, "named", 1), (False, 2, "champion_then", 1)]


@pytest.mark.slow
def test_thirty_days_in_both_modes_with_a_promotion_in_the_middle(sluice, engine: Engine) -> None:
    two_versions(engine)
    days = ("--from", f"{FIRST:%Y-%m-%d}", "--to", f"{LAST:%Y-%m-%d}")
    assert sluice("backfill", "parcels", *days)[0] == 0
    # 26 January to 9 February end before the promotion; 10 February, in which it lies, ends after it.
    assert counted(engine) == [(True, 1, "champion_then", 15), (False, 2, "champion_then", 15)]
    assert sluice("backfill", "parcels", *days, "--version", "1")[0] == 0
    assert counted(engine) == [(True, 1, "named", 15), (False, 1, "named", 15)]
    with engine.connect() as connection:
        versions = connection.execute(
            text("SELECT model_version, count(*), count(DISTINCT partition_start) FROM scores.parcels GROUP BY 1")
        ).all()
        kept = connection.execute(text("SELECT count(*) FROM sluice.partition_publication")).scalar_one()
    assert versions == [(1, 30 * 40, 30)]
    assert kept == 60, "the ledger keeps what was published before"


@pytest.mark.slow
def test_before_the_first_champion_a_version_must_be_named(sluice, engine: Engine) -> None:
    two_versions(engine)
    code, said, complained = sluice("backfill", "parcels", "--from", "2026-01-23", "--to", "2026-01-25")
    assert code == 1
    assert "parcels 2026-01-25: 40 rows published with version 1" in said, "one that fails does not stop the others"
    assert "expected a champion of that time to score it with; found none: the first was version 1" in complained
    assert "1 of 3 partitions failed: 2026-01-23T00:00." in complained
    assert sluice("backfill", "parcels", "--from", "2026-01-23", "--to", "2026-01-23", "--version", "1")[0] == 0


def test_a_partition_is_removed_by_name_unless_it_is_needed_and_can_be_scored_again(sluice, engine: Engine) -> None:
    assert sluice("train", "parcels", "--as-of", TODAY.isoformat())[0] == 0
    assert sluice("score", "parcels", "--partition", "2026-02-19", "--to", "2026-02-20")[0] == 0
    retire = ("drop-partition", "parcels", "--reason", "a wrong source", "--partition")
    code, _, complained = sluice(*retire, "2026-02-20")
    assert code == 1
    assert "is not removed: it is the newest partition" in complained
    with engine.begin() as connection:  # the same parcels are scored on the day after: nobody's newest score is left
        connection.execute(text("UPDATE source.parcels SET sent_at = sent_at + interval '1 day' WHERE"
                                " sent_at >= '2026-02-19' AND sent_at < '2026-02-20'"))  # fmt: skip
    assert sluice("score", "parcels", "--partition", "2026-02-20")[0] == 0
    code, said, _ = sluice(*retire, "2026-02-19")
    assert (code, "parcels 2026-02-19: 40 rows removed" in said) == (0, True)
    with engine.connect() as connection:
        ((reason,),) = connection.execute(text("SELECT reason FROM sluice.partition_removal")).all()
        left = connection.execute(text("SELECT count(*) FROM scores.parcels WHERE partition_start < '2026-02-20'"))
        assert left.scalar_one() == 0
    assert reason.startswith("a wrong source (removed by ")


def test_hours_are_partitions_of_an_hourly_model(sluice, engine: Engine) -> None:
    assert sluice("train", "hourly", "--as-of", TODAY.isoformat())[0] == 0
    code, said, _ = sluice("score", "hourly", "--partition", "2026-02-20T03:00", "--to", "2026-02-20T05:00")
    assert code == 0
    assert said.count("published with version 1 (sequence 1) in ") == 3
    starts = [each.partition_start.hour for each in Ledger(engine).published_partitions("hourly")]
    assert starts == [3, 4, 5]
    code, said, _ = sluice("score", "hourly", "--partition", "2026-02-20T04:30")
    assert "hourly 2026-02-20 04:00 to 2026-02-20 05:00 UTC" in said
    assert "(sequence 2)" in said


def test_weeks_are_partitions_of_a_weekly_model(sluice, engine: Engine, tmp_path) -> None:
    declare_model(tmp_path / "models", "weekly", spec=SPEC.replace("score_schedule=None", 'score_schedule="0 0 * * 1"'))
    load_parcels(engine, "weekly")
    assert sluice("train", "weekly", "--as-of", TODAY.isoformat())[0] == 0
    code, said, _ = sluice("backfill", "weekly", "--from", "2026-02-02", "--to", "2026-02-09", "--version", "1")
    assert code == 0
    assert (
        "weekly 2026-02-02 00:00 to 2026-02-09 00:00 UTC: 280 rows published with version 1 (sequence 1, named) in "
        in said
    )
    assert (
        "weekly 2026-02-09 00:00 to 2026-02-16 00:00 UTC: 280 rows published with version 1 (sequence 1, named) in "
        in said
    )
    code, said, _ = sluice("score", "weekly", "--partition", "2026-02-12")
    assert code == 0, "a day means the week that it lies in"
    assert "weekly 2026-02-09" in said
    assert "(sequence 2)" in said


@pytest.mark.slow
def test_a_schedule_of_other_partitions_is_told_from_a_mistake_of_the_database(
    sluice, engine: Engine, tmp_path
) -> None:
    assert sluice("train", "hourly", "--as-of", TODAY.isoformat())[0] == 0
    assert sluice("score", "hourly", "--partition", "2026-02-20T03:00")[0] == 0
    declare_model(tmp_path / "models", "hourly", spec=SPEC.replace("score_schedule=None", 'score_schedule="0 0 * * *"'))
    code, _, complained = sluice("score", "hourly", "--partition", "2026-02-20")
    assert code == 1
    assert "expected no other partition in 2026-02-20 00:00 to 2026-02-21 00:00 UTC" in complained


def test_a_source_that_changed_its_columns_stops_with_the_difference(sluice, engine: Engine) -> None:
    assert sluice("train", "parcels", "--as-of", TODAY.isoformat())[0] == 0
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE source.parcels RENAME COLUMN weight TO mass"))
    code, _, complained = sluice("score", "parcels", "--partition", "2026-02-20")
    assert code == 1
    assert 'column "weight" does not exist' in complained
    assert "Compare it with the columns of source.parcels" in complained
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE source.parcels RENAME COLUMN mass TO weight"))
        connection.execute(text("ALTER TABLE source.parcels ALTER weight TYPE text"))
    code, _, complained = sluice("score", "parcels", "--partition", "2026-02-20")
    assert code == 1
    assert "column 'weight': expected" in complained
    assert "cast it in features.sql" in complained
    with engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM sluice.partition_publication")).scalar_one() == 0
