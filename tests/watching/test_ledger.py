"""The ledger and Airflow's tables, as they are read from a real PostgreSQL."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, event, text
from sqlalchemy.exc import SQLAlchemyError

from include.spec import ApprovalPolicy, Freshness
from include.watching import find_problems, read_airflow, read_ledger
from include.watching.labels import count_labels
from include.watching.state import DagState, ImportFailure, LedgerState, QueuedTask
from tests.builders import SPEC, TODAY, declare_model, load_parcels
from tests.watching.states import DAY, HOUR, NOW, SINCE, declared, healthy

FIRST = NOW.replace(hour=0) - 10 * DAY


@pytest.fixture
def write(engine: Engine):
    """Runs a statement."""

    def run(statement: str, **values: Any) -> None:
        with engine.begin() as connection:
            connection.execute(text(statement), values)

    return run


def register(write, model: str, version: int, *, at: datetime = SINCE, accepted: bool = True, approval: bool = False):
    write(
        """
        INSERT INTO sluice.model_version (model, version, artifact_digest, spec_digest, data_digest, run_id, evaluation,
            decision, created_at, needs_approval, evidence_digest)
        VALUES (:model, CAST(:version AS integer), 'a', 's', 'd', 'run ' || CAST(:version AS text),
            jsonb_build_object('holdout', jsonb_build_object('end', CAST(:end AS text))),
            jsonb_build_object('accepted', CAST(:accepted AS boolean), 'gates', jsonb_build_array(
                jsonb_build_object('gate', 'rows', 'passed', true, 'sentence', 'rows: 900'),
                jsonb_build_object('gate', 'auc', 'passed', CAST(:accepted AS boolean), 'sentence', 'auc: 0.71'))),
            :at, :approval, 'e')
        """,
        model=model, version=version, at=at, accepted=accepted, approval=approval,
        end=(at - DAY).isoformat(),
    )  # fmt: skip


def promote(write, model: str, sequence: int, version: int, at: datetime = SINCE) -> None:
    write(
        "INSERT INTO sluice.promotion (model, sequence, to_version, actor, reason, evidence_digest, promoted_at) "
        "VALUES (:model, :sequence, :version, 'ann', 'a better version', 'e', :at)",
        model=model, sequence=sequence, version=version, at=at,
    )  # fmt: skip


def publish(write, model: str, day: int, version: int = 1, sequence: int = 1) -> None:
    write(
        """
        INSERT INTO sluice.partition_publication (model, partition_start, partition_end, version, artifact_digest,
            query_digest, row_count, rows_digest, run_id, sequence, attempt)
        VALUES (:model, :start, :end, :version, 'a', 'q', 7, 'r', 'run', :sequence, 1)
        """,
        model=model, start=FIRST + day * DAY, end=FIRST + (day + 1) * DAY, version=version, sequence=sequence,
    )  # fmt: skip


def alert(write, run_id: str, at: datetime) -> None:
    write(
        "INSERT INTO sluice.alert (model, dag_id, run_id, error, raised_at) "
        "VALUES ('parcels', 'model_service', :run_id, 'digest differs', :at)",
        run_id=run_id, at=at,
    )  # fmt: skip


def message(write, at: datetime, *, delivered: bool = False) -> None:
    write(
        """
        WITH incident AS (
            INSERT INTO sluice.incident (key, kind, model, severity, summary, opened_at, last_seen_at)
            VALUES (gen_random_uuid(), 'failed_score', 'parcels', 'page', 'it failed', :at, :at) RETURNING id
        )
        INSERT INTO sluice.alert_message (incident_id, number, reference, channel, action, title, body, created_at,
            next_attempt_at, delivered_at)
        SELECT id, 1, 'r', 'default', 'trigger', '', '', :at, :at, CASE WHEN :delivered THEN :at END FROM incident
        """,
        at=at, delivered=delivered,
    )  # fmt: skip


def read(engine: Engine, *models: str) -> LedgerState:
    return read_ledger(engine, dict.fromkeys(models or ("parcels",), NOW - 400 * DAY), NOW)


def test_an_empty_ledger_has_nothing(engine: Engine) -> None:
    assert read(engine) == LedgerState()


def test_champions_have_their_first_promotion_and_the_end_of_their_data(engine: Engine, write) -> None:
    for version in (1, 2):
        register(write, "parcels", version, at=SINCE + version * DAY)
        promote(write, "parcels", version, version, SINCE + version * DAY)
    champion = read(engine).champions["parcels"]
    assert (champion.version, champion.since, champion.first_since) == (2, SINCE + 2 * DAY, SINCE + DAY)
    assert champion.data_end == SINCE + DAY


def test_a_model_that_only_the_ledger_knows_is_read_too(engine: Engine, write) -> None:
    register(write, "letters", 1)
    promote(write, "letters", 1, 1)
    publish(write, "letters", 3)
    ledger = read(engine, "parcels")
    assert set(ledger.champions) == set(ledger.publications) == set(ledger.versions) == {"letters"}


def test_published_days_are_ranges_and_removed_ones_count(engine: Engine, write) -> None:
    register(write, "parcels", 1)
    register(write, "parcels", 2)
    for day in (0, 1, 2, 5, 6):
        publish(write, "parcels", day)
    publish(write, "parcels", 6, version=2, sequence=2)
    write(
        "INSERT INTO sluice.partition_removal (model, partition_start, sequence, row_count, reason) "
        "VALUES ('parcels', :start, 1, 7, 'older than its retention')",
        start=FIRST,
    )
    found = read(engine).publications["parcels"]
    assert found.ranges == ((FIRST, FIRST + 3 * DAY), (FIRST + 5 * DAY, FIRST + 7 * DAY))
    assert (found.newest_start, found.newest_end, found.newest_version) == (FIRST + 6 * DAY, FIRST + 7 * DAY, 2)
    assert found.covers(FIRST, FIRST + 3 * DAY)
    assert not found.covers(FIRST + 2 * DAY, FIRST + 6 * DAY)


def test_only_the_watched_partitions_are_read_and_the_newest_in_any_case(engine: Engine, write) -> None:
    register(write, "parcels", 1)
    for day in range(4):
        publish(write, "parcels", day)
    some = read_ledger(engine, {"parcels": FIRST + 2 * DAY}, NOW).publications["parcels"]
    assert some.ranges == ((FIRST + 2 * DAY, FIRST + 4 * DAY),)
    none = read_ledger(engine, {"parcels": None}, NOW).publications["parcels"]
    assert (none.ranges, none.newest_start) == ((), FIRST + 3 * DAY)


def test_versions_are_the_newest_first_with_the_first_reason(engine: Engine, write) -> None:
    register(write, "parcels", 1)
    promote(write, "parcels", 1, 1)
    register(write, "parcels", 2, accepted=False)
    found = read(engine).versions["parcels"]
    assert [(each.version, each.accepted, each.promoted, each.reason) for each in found] == [
        (2, False, False, "auc: 0.71"), (1, True, True, None),
    ]  # fmt: skip
    assert [each.version for each in read_ledger(engine, {"parcels": None}, NOW, versions=1).versions["parcels"]] == [2]


def test_an_approval_is_waited_for_until_somebody_decides(engine: Engine, write) -> None:
    def waiting() -> list[int]:
        return [each.version for each in read(engine).versions["parcels"] if each.waits_for_approval]

    register(write, "parcels", 1, approval=True, accepted=False)
    assert waiting() == [], "a rejected version waits for nobody"
    register(write, "parcels", 2, approval=True)
    register(write, "parcels", 3, approval=True)
    assert waiting() == [3], "only the newest can still be approved"
    write(
        "INSERT INTO sluice.approval (model, version, evidence_digest, decision, approver, comment, champion_sequence, "
        "newest_version) VALUES ('parcels', 3, 'e', 'rejected', 'bob', 'too few rows in May', 0, 3)"
    )
    assert waiting() == []


def test_a_refusal_is_of_the_present_champion_and_of_these_hours(engine: Engine, write) -> None:
    register(write, "parcels", 1)
    register(write, "parcels", 2)
    promote(write, "parcels", 1, 1)
    alert(write, "version 2 could not be loaded", NOW - HOUR)
    alert(write, "version 1 could not be loaded", NOW - 3 * HOUR)
    assert read(engine).refused == {}
    alert(write, "version 1 could not be loaded", NOW - HOUR)
    assert read(engine).refused["parcels"].since == NOW - HOUR
    promote(write, "parcels", 2, 2, NOW - HOUR / 2)
    refused = read(engine).refused["parcels"]
    assert (refused.version, refused.since, refused.error) == (2, NOW - HOUR / 2, "digest differs")


def test_messages_that_no_channel_took_are_counted(engine: Engine, write) -> None:
    for age in (HOUR, 2 * HOUR, timedelta(minutes=1), 8 * DAY):
        message(write, NOW - age)
    message(write, NOW - HOUR, delivered=True)
    ledger = read(engine)
    assert (ledger.undelivered, ledger.undelivered_since) == (2, NOW - 2 * HOUR)


def test_a_deleted_model_is_in_none_of_it_and_may_begin_again(engine: Engine, write) -> None:
    register(write, "parcels", 1)
    promote(write, "parcels", 1, 1)
    publish(write, "parcels", 0)
    write(
        "INSERT INTO sluice.model_deletion (model, last_version, last_sequence, actor, reason) "
        "VALUES ('parcels', 1, 1, 'ann', 'nobody reads it')"
    )
    assert read(engine) == LedgerState()
    register(write, "parcels", 2)
    promote(write, "parcels", 2, 2, NOW - DAY)
    publish(write, "parcels", 8, version=2)
    ledger = read(engine)
    assert ledger.champions["parcels"].first_since == NOW - DAY
    assert ledger.publications["parcels"].ranges == ((FIRST + 8 * DAY, FIRST + 9 * DAY),)


def test_holds_are_read_where_the_schema_has_them(engine: Engine, write) -> None:
    with engine.connect() as connection:
        if not connection.execute(text("SELECT to_regclass('sluice.active_hold') IS NOT NULL")).scalar_one():
            write(
                "CREATE VIEW sluice.active_hold AS SELECT 'parcels'::text AS model, NULL::timestamptz AS held_until, "
                "'ann'::text AS actor, 'the strike is not over'::text AS reason, now() AS set_at"
            )
            assert read(engine).holds["parcels"].actor == "ann"


def test_a_hundred_models_are_read_in_a_few_statements(engine: Engine, write) -> None:
    models = [f"model_{number}" for number in range(100)]
    for model in models:
        register(write, model, 1)
        promote(write, model, 1, 1)
        publish(write, model, 0)
    statements: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda *values: statements.append(values[2]))
    assert len(read(engine, *models).publications) == 100
    assert len(statements) <= 8


def test_a_database_that_is_away_raises(engine: Engine) -> None:
    away = create_engine(engine.url.set(database="no_such_database"))
    with pytest.raises(SQLAlchemyError):
        read(away)


# -- Airflow -----------------------------------------------------------------------------------------


@pytest.fixture
def airflow(engine: Engine, write) -> Engine:
    """Tables of Airflow, with the columns of 3.3 that are read."""
    write("""
        CREATE TABLE public.dag (dag_id text PRIMARY KEY, is_paused boolean NOT NULL, is_stale boolean NOT NULL,
            next_dagrun_create_after timestamptz);
        CREATE TABLE public.import_error (id serial PRIMARY KEY, timestamp timestamptz, filename text, stacktrace text);
        CREATE TABLE public.job (id serial PRIMARY KEY, job_type text, state text, latest_heartbeat timestamptz);
        CREATE TABLE public.task_instance (dag_id text, task_id text, run_id text, state text, queued_dttm timestamptz);
    """)
    return engine


def test_airflow_s_tables_are_read(airflow: Engine, write) -> None:
    write("INSERT INTO public.dag VALUES ('score_parcels', true, false, :at), ('old', false, true, NULL)", at=NOW)
    write(
        "INSERT INTO public.import_error (timestamp, filename, stacktrace) VALUES (:at, 'score.py', :trace)",
        at=NOW, trace="Traceback:\n  line 3\nNameError: x\n",
    )  # fmt: skip
    for kind, age in (("SchedulerJob", 5), ("SchedulerJob", 900), ("TriggererJob", 300), ("Other", 1)):
        write(
            "INSERT INTO public.job (job_type, state, latest_heartbeat) VALUES (:kind, 'running', :at)",
            kind=kind, at=NOW - timedelta(seconds=age),
        )  # fmt: skip
    write(
        "INSERT INTO public.task_instance VALUES ('score_parcels', 'plan', 'r1', 'queued', :long), "
        "('score_parcels', 'plan', 'r2', 'queued', :short), ('score_parcels', 'plan', 'r3', 'running', :long)",
        long=NOW - HOUR, short=NOW - timedelta(minutes=2),
    )  # fmt: skip
    state, error = read_airflow(airflow, NOW)
    assert error is None
    assert state is not None
    assert state.dags == {"score_parcels": DagState(paused=True, next_run=NOW), "old": DagState(stale=True)}
    assert state.import_errors == (ImportFailure("score.py", NOW, "NameError: x"),)
    assert state.heartbeats == {"scheduler": NOW - timedelta(seconds=5), "triggerer": NOW - timedelta(seconds=300)}
    assert state.queued == (QueuedTask("score_parcels", "plan", "r1", NOW - HOUR),)


def test_airflow_that_cannot_be_read_says_why_and_raises_nothing(engine: Engine) -> None:
    assert read_airflow(engine, NOW) == (None, "the database has no tables of Airflow")
    away = create_engine(engine.url.set(database="no_such_database"))
    state, error = read_airflow(away, NOW)
    assert state is None
    assert 'database "no_such_database" does not exist' in str(error)


# -- labels ------------------------------------------------------------------------------------------


def test_labels_are_counted_of_the_last_day_on_which_they_are_due(engine: Engine, tmp_path) -> None:
    load_parcels(engine)
    text_of = SPEC.replace("score_schedule=None,", "freshness=Freshness(labels_by=timedelta(days=5)),")
    spec = declare_model(tmp_path, spec=text_of)
    counted = count_labels(engine, spec, TODAY)
    assert counted is not None
    assert (counted.start, counted.end, counted.rows, counted.labelled) == (TODAY - 6 * DAY, TODAY - 5 * DAY, 40, 40)
    with engine.begin() as connection:
        connection.execute(
            text("UPDATE source.parcels SET outcome = NULL WHERE sent_at > :at"), {"at": TODAY - 9 * DAY}
        )
    counted = count_labels(engine, spec, TODAY)
    assert counted is not None
    assert (counted.rows, counted.labelled) == (40, 0)
    assert count_labels(engine, declared(), TODAY) is None


def test_what_is_read_is_judged(engine: Engine, write) -> None:
    """From the tables to the problems: a hole, a late partition and an approval that waits."""
    spec = declared(approval=ApprovalPolicy(), freshness=Freshness(approval_within=2 * HOUR))
    register(write, "parcels", 1, at=NOW - 3 * DAY)
    promote(write, "parcels", 1, 1, FIRST)
    for day in (0, 1, 3, 4, 5, 6, 7):
        publish(write, "parcels", day)
    register(write, "parcels", 2, at=NOW - 3 * HOUR, approval=True)
    state = healthy(spec)
    found = find_problems(type(state)(specs=state.specs, ledger=read(engine), ledger_read_at=NOW, disk=state.disk), NOW)
    assert [(each.kind, each.subjects) for each in found] == [
        ("late_partition", ("2026-03-08T00:00Z", "2026-03-09T00:00Z")),
        ("missing_partition", ("2026-03-02T00:00Z",)),
        ("approval_waiting", ("version 2",)),
    ]
