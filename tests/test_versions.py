"""A version meets data by its own signature and its own query, whatever the declaration has become since."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import pytest
from sklearn.metrics import f1_score
from sqlalchemy import text

from include import pipeline
from include.errors import DeclarationChangedError, ScoreTableError, ValidationFailedError, VersionIncompatibleError
from include.records import Period, PublishedPartition
from include.resources import Resources
from include.spec import ModelSpec, Shadow
from tests.builders import QUERY, ROWS_A_DAY, SPEC, TODAY, declare_model, load_parcels
from tests.scoring.conftest import train_version

DAY = Period.of_day(date(2026, 2, 20))
RENAMED = SPEC.replace('name="weight"', 'name="mass"')
RENAMED_QUERY = QUERY.replace("weight", "weight AS mass")
SWAPPED = SPEC.replace('("on_time", "late")', '("late", "on_time")')


SHOUTED = SPEC.replace('"ant", "bee", "cat"', '"ANT", "BEE", "CAT"')


class Parcels:
    """The model of the tests: version 1 is trained as `SPEC` and `QUERY` declare, and champion."""

    def __init__(self, resources: Resources) -> None:
        self.resources = resources
        load_parcels(resources.engine)
        self.spec = self.declare()
        self.train("one")
        self.promote(1)

    def declare(self, spec: str = SPEC, query: str = QUERY) -> ModelSpec:
        self.spec = declare_model(self.resources.settings.home / "models", spec=spec, query=query)
        return self.spec

    def train(self, run: str) -> Any:
        train_version(self.spec, run, self.resources)
        return self.resources.ledger.versions(self.spec.name)[-1].evaluation

    def promote(self, version: int) -> None:
        pipeline.move_champion(
            self.spec.name, version, "ann", "a test of versions", self.resources, self.spec, force=True
        )

    def score(self, run: str, version: int | None = None) -> PublishedPartition:
        return pipeline.score(self.spec, run, DAY, self.resources, version=version)

    def rows(self, table: str = "parcels") -> list[tuple[Any, ...]]:
        return self.read(f"SELECT entity_key, p_on_time, p_late, predicted_label FROM scores.{table} ORDER BY 1")

    def read(self, query: str) -> list[tuple[Any, ...]]:
        with self.resources.engine.connect() as connection:
            return [tuple(row) for row in connection.execute(text(query))]

    def change_source(self, statement: str) -> None:
        with self.resources.engine.begin() as connection:
            connection.execute(text(statement))

    @property
    def champion(self) -> int:
        champion = self.resources.ledger.champion(self.spec.name)
        assert champion is not None
        return champion.to_version


@pytest.fixture
def parcels(resources: Resources) -> Parcels:
    return Parcels(resources)


def digest_of(query: str) -> str:
    return hashlib.sha256(query.replace("{name}", "parcels").encode()).hexdigest()


def test_classes_in_another_order_swap_nothing_in_a_score_a_backfill_a_shadow_or_after_a_rollback(
    parcels: Parcels,
) -> None:
    first = parcels.score("before")
    rows = parcels.rows()
    assert {row[3] for row in rows} == {"on_time", "late"}
    assert all((row[2] > row[1]) == (row[3] == "late") for row in rows)

    spec = parcels.declare(SWAPPED).model_copy(update={"shadow": Shadow()})
    assert parcels.score("after").rows_digest == first.rows_digest
    assert parcels.rows() == rows
    assert parcels.score("named", version=1).rows_digest == first.rows_digest

    evaluation = parcels.train("two")
    assert evaluation.champion_note is None
    ours = parcels.resources.ledger.version("parcels", 1).evaluation.candidate
    assert evaluation.champion["roc_auc"] == pytest.approx(ours["roc_auc"], abs=1e-6)
    assert evaluation.champion["log_loss"] == pytest.approx(ours["log_loss"], abs=1e-6)
    assert evaluation.champion["roc_auc"] > 0.6, "the right way round"

    parcels.promote(2)
    published = parcels.score("the second")
    pipeline.set_challenger(spec.name, 1, "ann", parcels.resources, spec)
    divergence = pipeline.shadow_partition(spec, published, "shadow", parcels.resources)
    assert divergence is not None
    assert parcels.rows("parcels_shadow") == rows
    assert divergence.rank_correlation > 0.5

    parcels.promote(1)
    assert parcels.score("rolled back").rows_digest == first.rows_digest
    assert parcels.rows() == rows


def test_a_champions_threshold_is_of_its_own_class_when_the_order_has_changed(parcels: Parcels) -> None:
    decided = "    retrain_schedule=None, decision_threshold=DecisionThreshold(value=0.2),"
    parcels.declare(SPEC.replace("    retrain_schedule=None,", decided))
    parcels.train("with a threshold")
    parcels.promote(2)
    parcels.declare(SWAPPED.replace("    retrain_schedule=None,", decided))
    evaluation = parcels.train("in another order")
    holdout = evaluation.holdout
    for day in range((holdout.end - holdout.start).days):
        period = Period.of_day((holdout.start + timedelta(days=day)).date())
        assert pipeline.score(parcels.spec, "holdout", period, parcels.resources).version == 2
    rows = parcels.read(
        "SELECT outcome, predicted_label, p_late FROM scores.parcels JOIN source.parcels ON parcel_id = entity_key"
    )
    assert {label for _, label, _ in rows} == {"late", "on_time"}
    assert all((label == "late") == (p_late >= 0.2) for _, label, p_late in rows)
    expected = f1_score([row[0] for row in rows], [row[1] for row in rows], pos_label="on_time")
    assert evaluation.champion["f1"] == pytest.approx(expected)
    usual = f1_score([row[0] for row in rows], [row[1] for row in rows], pos_label="late")
    assert expected != pytest.approx(usual)


OTHER_CLASSES = SPEC.replace('("on_time", "late")', '("on_time", "lost")')
OTHER_KEY = SPEC.replace('EntityKey(column="parcel_id")', 'EntityKey(column="parcel_id", type="bigint")')
OTHER_TIME = SPEC.replace('event_time="sent_at"', 'event_time="handed_in_at"')
IN_GRAMS = SPEC.replace('unit="kg"', 'unit="g"')
OF_TEXT = SPEC.replace('Numeric(name="weight", unit="kg", minimum=0, maximum=100)', 'Categorical(name="weight")')
OTHER_CARRIERS = SPEC.replace('("ant", "bee", "cat")', '("ant", "wasp", "cat")')


# By a changed declaration, what the refusal says.
UNFIT = {
    OTHER_CLASSES: "its classes are on_time, late, and on_time, lost are declared",
    OTHER_KEY: "its entity key 'parcel_id' is text, and bigint is declared",
    OTHER_TIME: "its event time is 'sent_at', and 'handed_in_at' is declared",
    IN_GRAMS: "its feature 'weight' is in kg, and g is declared, for the same features.sql",
    OF_TEXT: "its feature 'weight' is numeric, and categorical is declared, for the same features.sql",
    OTHER_CARRIERS: "its feature 'carrier' has the categories 'bee', and 'wasp' are declared instead",
}


def test_what_does_not_fit_the_declaration_is_refused_with_the_difference_before_any_work(parcels: Parcels) -> None:
    parcels.score("before")
    rows = parcels.rows()
    parcels.train("two")
    attempts: dict[str, Callable[[], object]] = {
        "score": lambda: parcels.score("after"),
        "backfill": lambda: parcels.score("after", version=2),
        "promote": lambda: parcels.promote(2),
        "shadow": lambda: pipeline.set_challenger("parcels", 2, "ann", parcels.resources, parcels.spec),
    }
    for spec, difference in UNFIT.items():
        parcels.declare(spec)
        for name, attempt in attempts.items():
            with pytest.raises(VersionIncompatibleError) as refused:
                attempt()
            assert difference in str(refused.value), name
            assert not refused.value.retryable
    assert parcels.rows() == rows
    assert parcels.champion == 1
    assert parcels.read("SELECT count(*) FROM sluice.validation_result WHERE run_id = 'after'") == [(0,)]


def test_a_champion_that_does_not_fit_is_not_compared_and_the_note_says_why(parcels: Parcels) -> None:
    parcels.declare(IN_GRAMS)
    evaluation = parcels.train("two")
    assert (evaluation.champion, evaluation.champion_note) == (None, UNFIT[IN_GRAMS])


def test_a_renamed_feature_stops_nothing(parcels: Parcels) -> None:
    first = parcels.score("before")
    rows = parcels.rows()
    parcels.declare(RENAMED, RENAMED_QUERY)
    again = parcels.score("after")
    assert (again.version, again.rows_digest) == (1, first.rows_digest)
    assert again.query_digest == first.query_digest == digest_of(QUERY)
    assert parcels.read("SELECT DISTINCT query_digest FROM sluice.score_lineage") == [(digest_of(QUERY),)]
    checked = "SELECT count(*) FROM sluice.validation_result WHERE run_id = 'after' AND column_name = 'weight'"
    assert parcels.read(checked)[0][0] >= 3, "the contract is that of the version's features"

    evaluation = parcels.train("two")
    ours = parcels.resources.ledger.version("parcels", 1).evaluation.candidate
    assert (evaluation.champion_note, evaluation.champion_left_out) == (None, 0)
    assert evaluation.champion == pytest.approx(ours)
    assert evaluation.candidate == pytest.approx(ours), "the same numbers by another name"
    assert set(evaluation.differences) == set(ours)

    parcels.promote(2)
    second = parcels.score("the second")
    assert (second.version, second.query_digest) == (2, digest_of(RENAMED_QUERY))
    assert parcels.rows() == rows
    parcels.promote(1)
    assert parcels.score("rolled back").rows_digest == first.rows_digest


def test_a_challenger_with_other_features_scores_in_shadow_by_its_own_query_and_contract(parcels: Parcels) -> None:
    parcels.score("before")
    rows = parcels.rows()
    spec = parcels.declare(
        RENAMED.replace("maximum=100)", "maximum=3000)"), RENAMED_QUERY.replace("weight", "weight * 30")
    )
    parcels.train("two")
    published = parcels.score("after")
    pipeline.set_challenger("parcels", 2, "ann", parcels.resources, spec)
    divergence = pipeline.shadow_partition(spec, published, "shadow", parcels.resources)
    assert divergence is not None
    assert (divergence.row_count, divergence.label_flips) == (ROWS_A_DAY, 0)
    assert divergence.rank_correlation == pytest.approx(1)
    assert parcels.rows() == rows

    checked = "SELECT run_id, bool_and(passed) FROM sluice.validation_result WHERE column_name = 'mass' GROUP BY 1"
    assert parcels.read(checked) == [("shadow shadow", True)]
    moment = DAY.start.isoformat()
    parcels.change_source(f"UPDATE source.parcels SET weight = 101 WHERE sent_at = '{moment}'")
    with pytest.raises(ValidationFailedError, match=r"'mass': expected a number from 0 .* are those of version 2"):
        pipeline.shadow_partition(spec, published, "again", parcels.resources)


def test_a_version_is_scored_by_its_own_query_only(parcels: Parcels) -> None:
    first = parcels.score("before")
    parcels.declare(SPEC.replace("maximum=100)", "maximum=3000)"), QUERY.replace("weight", "weight * 30 AS weight"))
    again = parcels.score("after")
    assert (again.rows_digest, again.query_digest) == (first.rows_digest, digest_of(QUERY))
    checks = {each.name: each for each in pipeline.verify_version("parcels", 1, parcels.resources)}
    assert checks["query"].passed
    assert "the rows of all 1 published partitions" in checks["query"].sentence

    parcels.change_source(
        "INSERT INTO sluice.partition_publication SELECT model, partition_start, partition_end, version,"
        f" artifact_digest, '{digest_of('another')}', row_count, rows_digest, run_id, sequence + 1, published_at, mode,"
        " shards, attempt FROM sluice.published_partition"
    )
    checks = {each.name: each for each in pipeline.verify_version("parcels", 1, parcels.resources)}
    assert not checks["query"].passed
    assert f"SHA-256 {digest_of(QUERY)}; found {digest_of('another')}" in checks["query"].sentence


@pytest.mark.parametrize(
    ("spec", "query"),
    [
        (IN_GRAMS.replace("maximum=100)", "maximum=100_000)"), QUERY.replace("weight", "weight * 1000 AS weight")),
        (OF_TEXT, QUERY.replace("weight", "CASE WHEN weight > 15 THEN 'heavy' ELSE 'light' END AS weight")),
        (
            SPEC.replace('"ant", "bee", "cat"', '"ANT", "BEE", "CAT"'),
            QUERY.replace("carrier", "upper(carrier) AS carrier"),
        ),
    ],
    ids=["unit", "kind", "categories"],
)
def test_a_feature_that_another_query_makes_another_leaves_a_version_its_own(
    parcels: Parcels, spec: str, query: str
) -> None:
    first = parcels.score("before")
    parcels.declare(spec, query)
    assert parcels.score("after").rows_digest == first.rows_digest
    evaluation = parcels.train("two")
    ours = parcels.resources.ledger.version("parcels", 1).evaluation.candidate
    assert evaluation.champion == pytest.approx(ours)


WITHOUT_TWO = "".join(line for line in SPEC.splitlines(True) if "weight" not in line and "fragile" not in line)
WITHOUT_TWO_QUERY = (
    QUERY.replace("weight, ", "")
    .replace("fragile, ", "")
    .replace(" sent_at,", " date_trunc('second', sent_at)::timestamptz AS sent_at,")
)


# Changes of the source, how to undo them, and what the refusal says.
CHANGES = [
    (
        "RENAME COLUMN weight TO mass", "RENAME COLUMN mass TO weight",
        'its features.sql does not run: column "weight" does not exist',
    ),
    (
        "ALTER COLUMN weight TYPE text", "ALTER COLUMN weight TYPE float8 USING weight::float8",
        "bigint or real or double precision or numeric, and is text today",
    ),
    (
        "ALTER COLUMN sent_at TYPE timestamp", "ALTER COLUMN sent_at TYPE timestamptz",
        "its column 'sent_at' needs type timestamp with time zone, and is timestamp without time zone today",
    ),
    (
        "ALTER COLUMN fragile TYPE int USING fragile::int", "ALTER COLUMN fragile TYPE boolean USING fragile::boolean",
        "its column 'fragile' needs type boolean, and is integer today",
    ),
]  # fmt: skip


def test_a_rollback_to_a_version_that_the_source_cannot_feed_is_refused_beforehand(parcels: Parcels) -> None:
    parcels.declare(WITHOUT_TWO, WITHOUT_TWO_QUERY)
    parcels.train("two")
    parcels.promote(2)
    for change, undo, difference in CHANGES:
        parcels.change_source(f"ALTER TABLE source.parcels {change}")
        with pytest.raises(VersionIncompatibleError) as refused:
            parcels.promote(1)
        assert difference in str(refused.value)
        assert "The champion stays." in str(refused.value)
        with pytest.raises(VersionIncompatibleError):
            pipeline.set_challenger("parcels", 1, "ann", parcels.resources, parcels.spec)
        assert parcels.champion == 2
        parcels.change_source(f"ALTER TABLE source.parcels {undo}")
    parcels.promote(1)

    parcels.change_source(f"ALTER TABLE source.parcels {CHANGES[0][0]}")
    with pytest.raises(ValidationFailedError, match='column "weight" does not exist'):
        parcels.score("after")


def test_a_champion_that_the_source_cannot_feed_is_not_compared_and_the_note_says_why(parcels: Parcels) -> None:
    parcels.change_source("ALTER TABLE source.parcels RENAME COLUMN weight TO mass")
    parcels.declare(RENAMED, QUERY.replace("weight", "mass"))
    evaluation = parcels.train("two")
    assert evaluation.champion is None
    assert evaluation.champion_note == 'its features.sql does not run: column "weight" does not exist'


def test_rows_that_the_champions_query_does_not_give_are_left_out_for_all_if_they_are_few(parcels: Parcels) -> None:
    parcels.declare(query=QUERY + "AND parcel_id NOT IN ('parcel-002390', 'parcel-002391')")
    parcels.train("a query with two rows less")
    parcels.promote(2)
    parcels.declare(query=QUERY)
    evaluation = parcels.train("all rows")
    assert (evaluation.champion_note, evaluation.champion_left_out, evaluation.rows) == (None, 2, 398)

    parcels.promote(1)
    parcels.declare(query=QUERY + "AND NOT fragile")
    narrow = parcels.train("a fifth less")
    assert (narrow.champion_note, narrow.champion_left_out, narrow.rows) == (None, 0, 320)
    parcels.promote(4)
    parcels.declare(query=QUERY)
    evaluation = parcels.train("all rows again")
    assert evaluation.champion is None
    assert evaluation.champion_note.startswith("its own features.sql gives only 320 of the holdout's 400 rows")


def test_a_score_table_with_another_type_of_key_is_refused(parcels: Parcels) -> None:
    parcels.score("before")
    parcels.declare(OTHER_KEY, QUERY.replace("parcel_id", "substr(parcel_id, 8)::bigint AS parcel_id"))
    evaluation = parcels.train("two")
    assert evaluation.champion_note == "its entity key 'parcel_id' is text, and bigint is declared"
    parcels.promote(2)
    with pytest.raises(ScoreTableError, match=r"expected the column entity_key to be bigint, .*; found text"):
        parcels.score("after")
    assert parcels.read("SELECT count(*), min(entity_key) FROM scores.parcels")[0][0] == ROWS_A_DAY


def test_the_artifact_keeps_the_query_that_read_its_training_rows(parcels: Parcels) -> None:
    registered = parcels.resources.ledger.version("parcels", 1)
    artifact = parcels.resources.artifacts.open("parcels", 1, registered.artifact_digest)
    assert artifact.read("features.sql") == QUERY.replace("{name}", "parcels").encode()

    spec, resources = parcels.spec, parcels.resources
    snapshot = pipeline.take_snapshot(spec, TODAY, resources, again=True)
    parcels.declare(query=QUERY.replace("weight", "weight * 2 AS weight"))
    exported = pipeline.export_candidate(spec, pipeline.train_candidate(spec, "two", snapshot, resources), resources)
    assert exported.digests["features.sql"] == digest_of(QUERY), "the file was changed after the rows were read"
    with pytest.raises(DeclarationChangedError, match="the declaration changed: run again"):
        pipeline.evaluate_gates(
            parcels.spec, exported, parcels.resources.ledger.version("parcels", 1).evaluation, None, resources
        )
    assert parcels.resources.ledger.version_numbers("parcels") == [1]
