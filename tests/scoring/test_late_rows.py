"""Late rows: a published partition whose source has changed since is found, and only such a one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import hypothesis.strategies as st
import psycopg
import pytest
from hypothesis import example, given, settings
from sqlalchemy import text

from include import pipeline
from include.errors import EmptyPartitionError, LateRowsError
from include.records import LatePartition, Period, PublishedPartition
from include.resources import Resources, open_resources
from include.settings import Settings
from include.source_digest import SourceDigest, digest_query
from include.spec import Boolean, Categorical, EntityKey, FeatureQuery, ModelSpec, Numeric, Scoring
from tests.builders import QUERY as PARCELS
from tests.builders import SPEC, declare_model, load_parcels, promote_first
from tests.scoring.conftest import DAY

LEARNED = SPEC.replace('categories=("ant", "bee", "cat"), handle_unknown="error"', "nullable=True")

COLUMNS = ("key", "at", "size", "kind", "open")
QUERY = FeatureQuery(
    model="late",
    text="SELECT key, at, size, kind, open FROM source.late WHERE at >= :period_start AND at < :period_end",
    entity_key=EntityKey(column="key", type="bigint"),
    event_time="at",
    features=(
        Numeric(name="size", unit="cm", minimum=0, maximum=1, nullable=True),
        Categorical(name="kind", nullable=True),
        Boolean(name="open", nullable=True),
    ),
)


TABLE = """(SELECT * FROM unnest(%s::bigint[], %s::timestamptz[], %s::float8[], %s::text[], %s::boolean[])
            AS given (key, at, size, kind, open))"""


@pytest.fixture(scope="module")
def connection(new_database: Callable[[], str]) -> Iterator[psycopg.Connection]:
    """One for all cases: a new one takes longer than a digest."""
    with psycopg.connect(new_database(), autocommit=True) as connection:
        yield connection


moments = st.timedeltas(timedelta(0), timedelta(hours=23)).map(lambda after: DAY.start + after)
# Few values, so that rows are equal, columns agree and values are swapped; and those that simple hashes do not tell.
sizes = (
    st.none()
    | st.sampled_from((0.0, 1.0, -1.0, 2.0**53, 1e-300, 0.1, 0.1 + 2**-56, float("inf")))
    | st.floats(allow_nan=False).map(lambda each: each + 0.0)
)  # no negative zero: it equals zero
kinds = st.none() | st.sampled_from(("", "a", "A", "á", "a ", "null", "(,)", '"')) | st.text("ab", max_size=3)
keys = st.sampled_from((0, 1, 2, -1, 1 << 32, (1 << 32) + 1, -(1 << 63))) | st.integers(-(1 << 63), (1 << 63) - 1)
rows = st.tuples(keys, moments, sizes, kinds, st.none() | st.booleans())
tables = st.lists(rows, max_size=6)


def digest_of(connection: psycopg.Connection, table: list[tuple]) -> SourceDigest:
    columns = [[row[at] for row in table] for at in range(len(COLUMNS))]
    return SourceDigest.of_sums(*connection.execute(digest_query(QUERY, TABLE), columns).fetchone())


@given(table=tables, data=st.data())
@settings(max_examples=60)
def test_the_same_rows_in_another_order_have_the_same_digest(connection, table, data) -> None:
    assert digest_of(connection, table) == digest_of(connection, data.draw(st.permutations(table)))


@given(table=tables, other=tables)
@settings(max_examples=60)
def test_other_rows_have_another_digest(connection, table, other) -> None:
    def content(of: list[tuple]) -> list[str]:
        return sorted(map(repr, of))

    assert (digest_of(connection, table) == digest_of(connection, other)) == (content(table) == content(other))


@st.composite
def changes(draw) -> tuple[list[tuple], list[tuple]]:
    """A table, and the same with one change such as late data make."""
    table = draw(st.lists(rows, min_size=2, max_size=6))
    late = list(table)
    at, other = draw(st.permutations(range(len(table))))[:2]
    column = draw(st.integers(0, len(COLUMNS) - 1))
    match draw(st.sampled_from(("inserted", "twice", "deleted", "changed", "null", "swapped", "moved"))):
        case "inserted":
            late.append(draw(rows))
        case "twice":
            late.append(table[at])
        case "deleted":
            del late[at]
        case "changed":
            late[at] = (*table[at][:column], draw(rows)[column], *table[at][column + 1 :])
        case "null":
            column = max(column, 2)
            late[at] = (*table[at][:column], None, *table[at][column + 1 :])
        case "swapped":
            one, two = table[at], table[other]
            late[at] = (*one[:column], two[column], *one[column + 1 :])
            late[other] = (*two[:column], one[column], *two[column + 1 :])
        case "moved":
            late[at] = (table[at][0], table[at][1] + timedelta(microseconds=1), *table[at][2:])
    return table, late


def with_key(key: int) -> list[tuple]:
    return [(key, DAY.start, None, None, None)]


@given(changed=changes())
@example(changed=(with_key(1), with_key(-1)))
@example(changed=(with_key(1 << 32), with_key(1)))
@settings(max_examples=150)
def test_every_change_is_found_and_nothing_else(connection, changed) -> None:
    table, late = changed
    same = sorted(map(repr, table)) == sorted(map(repr, late))
    assert (digest_of(connection, table) == digest_of(connection, late)) == same


@pytest.fixture(scope="module")
def parcels(new_database: Callable[[], str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Parcels]:
    """A champion of parcels whose carriers are learned, and five scored days; the tests change one day each."""
    home = tmp_path_factory.mktemp("late")
    settings = Settings(home=home, database_url=new_database(), models_dir=home / "models")
    with open_resources(settings) as resources:
        load_parcels(resources.engine)
        spec = declare_model(settings.models_dir, spec=LEARNED)
        promote_first(spec, resources)
        opened = Parcels(resources, spec)
        for day in range(1, 6):
            opened.score(day)
        yield opened


@dataclass(frozen=True)
class Parcels:
    """The operations of the tests."""

    resources: Resources
    spec: ModelSpec

    def score(self, day: int, run_id: str = "first", **options: Any) -> PublishedPartition:
        return pipeline.score(self.spec, f"{run_id} {day}", february(day), self.resources, **options)

    def late(self) -> dict[int, LatePartition]:
        """The partitions with late rows, by day."""
        found = pipeline.find_late_rows(self.spec, self.resources, february(1).start).found
        return {each.published.partition_start.day: each for each in found}

    def allowing_none(self) -> Parcels:
        """The same model with a contract that takes an empty partition."""
        contract = self.spec.contract.model_copy(update={"partition_rows": (0, 10_000)})
        return Parcels(self.resources, self.spec.model_copy(update={"contract": contract}))

    def change(self, statement: str) -> None:
        with self.resources.engine.begin() as connection:
            connection.execute(text(statement))

    def read(self, query: str) -> list[tuple]:
        with self.resources.engine.connect() as connection:
            return [tuple(row) for row in connection.execute(text(query))]


def february(day: int) -> Period:
    return Period.of_day(date(2026, 2, day))


def of_day(day: int) -> str:
    return f"sent_at >= '2026-02-{day:02}' AND sent_at < '2026-02-{day + 1:02}'"


def test_a_late_row_is_found_in_its_partition_and_in_no_other(parcels: Parcels) -> None:
    assert parcels.late() == {}
    parcels.change("INSERT INTO source.parcels SELECT 'late', sent_at, weight, distance, carrier, fragile, NULL"
                   f" FROM source.parcels WHERE {of_day(2)} LIMIT 1")  # fmt: skip
    late = parcels.late()
    assert list(late) == [2]
    assert late[2].sentence == (
        "partition 2026-02-02 00:00 to 2026-02-03 00:00 UTC: the source has changed since it was scored: 40 rows then, "
        "41 now."
    )
    parcels.score(2, "again")
    assert parcels.late() == {}


def test_a_label_that_comes_later_is_no_late_row(parcels: Parcels) -> None:
    parcels.change(f"UPDATE source.parcels SET outcome = NULL WHERE {of_day(3)}")
    assert 3 not in parcels.late()


def test_a_new_features_query_or_declaration_is_no_late_row(parcels: Parcels) -> None:
    other = PARCELS.replace("weight, distance", "weight * 0 + 1 AS weight, distance")
    spec = declare_model(parcels.resources.settings.home / "edited", spec=LEARNED, query=other)
    assert 3 not in Parcels(parcels.resources, spec).late()


def test_a_source_that_cannot_be_read_any_more_is_another_reason(parcels: Parcels) -> None:
    parcels.change("ALTER TABLE source.parcels RENAME COLUMN weight TO mass")
    late = parcels.late()[4]
    parcels.change("ALTER TABLE source.parcels RENAME COLUMN mass TO weight")
    assert late.reason == "unreadable"
    assert 'column "weight" does not exist' in late.sentence


def test_a_publication_from_before_digests_is_unknown_and_counted(parcels: Parcels) -> None:
    parcels.change(
        "INSERT INTO sluice.partition_publication (model, partition_start, partition_end, version, artifact_digest,"
        " query_digest, row_count, rows_digest, run_id, sequence, attempt)"
        " VALUES ('parcels', '2026-01-20', '2026-01-21', 1, 'a', 'q', 1, 'r', 'old', 1, 1)"
    )
    since = datetime(2026, 1, 20, tzinfo=UTC)
    found = pipeline.find_late_rows(parcels.spec, parcels.resources, since, february(1).start)
    assert (found.compared, found.unknown, found.found) == (0, 1, ())


def test_a_late_row_is_alerted_once_with_what_to_do(parcels: Parcels) -> None:
    published = parcels.score(5, "again")
    parcels.change(f"UPDATE source.parcels SET distance = NULL WHERE {of_day(4)} AND fragile")
    for run in ("one", "two"):
        found = pipeline.check_late_rows(parcels.spec, published, run, parcels.resources)
        assert [each.published.partition_start.day for each in found.changed] == [4]
    ((error,),) = parcels.read("SELECT error FROM sluice.alert WHERE task_id = 'late_rows'")
    assert "40 rows then, 40 now, with other values." in error
    assert "`sluice score parcels --partition 2026-02-04T00:00Z`" in error


def test_the_command_for_late_rows_scores_each_partition_as_it_was_scored(parcels: Parcels) -> None:
    published = parcels.score(5, "again")
    day = published.partition_end - published.partition_start
    modes = [("champion", 1), ("champion", 2), ("named", 1), ("named", 2), ("champion_then", 1), ("champion_then", 3)]
    late = [
        LatePartition(
            reason="changed",
            published=published.model_copy(
                update={
                    "mode": mode,
                    "version": version,
                    "partition_start": published.partition_start + at * day,
                    "partition_end": published.partition_end + at * day,
                }
            ),
        )
        for at, (mode, version) in enumerate(modes)
    ]
    assert pipeline.rescore_commands(late) == [
        "sluice score parcels --partition 2026-02-05T00:00Z --to 2026-02-06T00:00Z",
        "sluice backfill parcels --from 2026-02-07T00:00Z --to 2026-02-07T00:00Z --version 1",
        "sluice backfill parcels --from 2026-02-08T00:00Z --to 2026-02-08T00:00Z --version 2",
        "sluice backfill parcels --from 2026-02-09T00:00Z --to 2026-02-10T00:00Z",
    ]


def test_by_policy_a_partition_with_late_rows_is_scored_again_as_it_was_scored(parcels: Parcels) -> None:
    newest = parcels.score(5, "newest")
    parcels.score(3, "named", version=1)
    parcels.change(f"UPDATE source.parcels SET weight = 0 WHERE {of_day(3)}")
    rescoring = parcels.spec.model_copy(update={"scoring": Scoring(late_rows="rescore")})
    done = pipeline.check_late_rows(rescoring, newest, "policy", parcels.resources)
    assert [(each.partition_start.day, each.mode) for each in done.rescored if each.partition_start.day == 3] == [
        (3, "named")
    ]
    assert 3 not in parcels.late()
    assert pipeline.check_late_rows(rescoring, newest, "policy", parcels.resources).rescored == ()


def test_one_that_breaks_its_contract_is_not_scored_again_and_the_others_are(parcels: Parcels) -> None:
    newest = parcels.score(5, "broken")
    parcels.change(f"UPDATE source.parcels SET weight = 1 WHERE {of_day(4)}")
    parcels.change(f"UPDATE source.parcels SET weight = -1 WHERE {of_day(2)}")
    rescoring = parcels.spec.model_copy(update={"scoring": Scoring(late_rows="rescore")})
    with pytest.raises(LateRowsError, match=r"expected to score 2 partition\(s\) .* 1 failed: partition 2026-02-02"):
        pipeline.check_late_rows(rescoring, newest, "broken", parcels.resources)
    assert set(parcels.late()) == {2}
    parcels.change(f"UPDATE source.parcels SET weight = 1 WHERE {of_day(2)}")
    parcels.score(2, "mended")


def test_categories_that_the_version_does_not_know_are_counted_in_the_ledger_and_warned_of(parcels: Parcels) -> None:
    parcels.change(f"UPDATE source.parcels SET carrier = upper(carrier) WHERE {of_day(1)} AND carrier <> 'cat'")
    published = parcels.score(1, "unknown")
    (unknown,) = published.unknown_categories
    assert (unknown.feature, unknown.near) == ("carrier", {"ANT": "ant", "BEE": "bee"})
    assert 20 < unknown.rows < 40
    stored = "SELECT unknown_categories FROM sluice.published_partition WHERE partition_start = '2026-02-01'"
    assert parcels.read(stored) == [([unknown.to_plain()],)]
    ((error,),) = parcels.read("SELECT error FROM sluice.alert WHERE task_id = 'publish'")
    assert (
        "of 40 rows (65%) have a category that version 1 does not know, and are scored as if it were missing" in error
    )
    assert "'ANT' looks like 'ant'" in error
    assert parcels.score(2, "known").unknown_categories == ()


def test_a_day_without_rows_is_no_success_unless_the_contract_allows_it(parcels: Parcels) -> None:
    parcels.change(f"DELETE FROM source.parcels WHERE {of_day(10)}")
    with pytest.raises(EmptyPartitionError, match=r"expected at least 1 row\(s\) to score; found none in the source"):
        parcels.score(10)
    empty = parcels.allowing_none().score(10)
    assert empty.row_count == 0
    assert parcels.read("SELECT row_count FROM sluice.published_partition WHERE partition_start = '2026-02-10'") == [
        (0,)
    ]
    parcels.change("INSERT INTO source.parcels SELECT 'late', '2026-02-10', 1, 1, 'ant', false, NULL")
    assert "0 rows then, 1 now" in parcels.late()[10].sentence


def test_an_empty_day_in_the_future_is_published_by_no_contract(parcels: Parcels) -> None:
    tomorrow = Period.of_day(parcels.resources.clock().date() + timedelta(days=1))
    for each in (parcels, parcels.allowing_none()):
        with pytest.raises(
            EmptyPartitionError, match="The partition is not over yet: score it when its rows are there"
        ):
            pipeline.score(each.spec, "future", tomorrow, each.resources)
    assert parcels.read(f"SELECT 1 FROM sluice.partition_publication WHERE partition_start = '{tomorrow.start}'") == []
