"""Holds: while one is in force, no retrain makes a champion; a person who names a version does."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from multiprocessing import get_context

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, make_url, text
from sqlalchemy.exc import DBAPIError

from include.errors import HoldError, OlderDataError, PromotionConflictError, PromotionHeldError
from include.records import Decision, Evaluation, Period, Promotion
from include.registry import Ledger, Manifest, active_hold, active_holds, lift_hold, record_deletion, set_hold
from include.warehouse import open_engine, under_role

PASSWORD = "pw"  # noqa: S105  # of a server that lives for these tests
WHY = "because of the alarms"
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def register(ledger: Ledger, end: datetime | None = NOON, model: str = "parcels") -> int:
    """Register an accepted version whose data end at `end`; None: it is not recorded."""
    manifest = Manifest(
        model=model, files={}, spec_digest="s" * 64, data_digest="d" * 64, code_digest="c" * 64, libraries={},
        created_at=NOON,
    )  # fmt: skip
    holdout = None if end is None else Period(start=end - timedelta(days=10), end=end)
    evaluation = Evaluation(model=model, rows=100, candidate={}, baseline={}, holdout=holdout)
    run = f"run {len(ledger.versions(model, with_deleted=True))}"
    return ledger.register(manifest, run, evaluation, Decision(accepted=True, gates=()), lambda v: f"a{v}").version


def promote(ledger: Ledger, version: int, model: str = "parcels", **how: bool) -> Promotion:
    champion = ledger.champion(model)
    return ledger.promote(
        model, version, actor="dag", reason="passed 3 gates", evidence_digest="e",
        expected_sequence=champion.sequence if champion else 0, **how,
    )  # fmt: skip


@pytest.fixture
def ledger(engine: Engine) -> Ledger:
    """Two versions; the first is champion."""
    ledger = Ledger(engine)
    promote(ledger, register(ledger))
    register(ledger)
    return ledger


def test_while_promotions_are_held_a_retrain_promotes_nothing_and_says_who_why_and_until_when(
    ledger: Ledger, engine: Engine
) -> None:
    hold = set_hold(engine, "parcels", "ann", WHY, until=datetime(2101, 1, 2, 3, 4, tzinfo=UTC))
    with pytest.raises(PromotionHeldError) as refused:
        promote(ledger, 2)
    message = str(refused.value)
    since = f"{hold.set_at:%Y-%m-%d %H:%M} UTC"
    assert f"ann holds promotions of 'parcels' since {since}, until 2101-01-02 03:04 UTC (reason: {WHY})" in message
    assert "`sluice promote parcels 2 --reason ...`" in message
    assert "`sluice hold parcels --lift --reason ...`" in message
    assert [each.to_version for each in ledger.promotions("parcels")] == [1]


def test_a_person_who_names_the_version_promotes_it_and_the_hold_stays(ledger: Ledger, engine: Engine) -> None:
    set_hold(engine, "parcels", "ann", WHY)
    assert promote(ledger, 2, by_name=True).to_version == 2
    assert active_hold(engine, "parcels") is not None


def test_other_models_are_not_held(ledger: Ledger, engine: Engine) -> None:
    set_hold(engine, "letters", "ann", WHY)
    assert promote(ledger, 2).sequence == 2
    assert list(active_holds(engine)) == ["letters"]


def test_a_lifted_hold_is_over_and_is_lifted_once(ledger: Ledger, engine: Engine) -> None:
    set_hold(engine, "parcels", "ann", WHY)
    lifted = lift_hold(engine, "parcels", "bob", "the source is corrected")
    assert lifted is not None
    assert (lifted.actor, active_hold(engine, "parcels")) == ("ann", None)
    assert lift_hold(engine, "parcels", "bob", "the source is corrected") is None
    assert promote(ledger, 2).sequence == 2
    with engine.connect() as connection:
        rows = connection.execute(text("SELECT held, actor FROM sluice.promotion_hold ORDER BY id")).all()
    assert [tuple(row) for row in rows] == [(True, "ann"), (False, "bob")]


def test_a_hold_ends_at_its_time_by_the_clock_of_the_database(ledger: Ledger, engine: Engine) -> None:
    with engine.connect() as connection:
        now = connection.execute(text("SELECT clock_timestamp()")).scalar_one()
        set_hold(engine, "parcels", "ann", WHY, until=now + timedelta(seconds=1.5))
        with pytest.raises(PromotionHeldError):
            promote(ledger, 2)
        connection.execute(text("SELECT pg_sleep(1.6)"))
    assert active_hold(engine, "parcels") is None
    assert promote(ledger, 2).sequence == 2


def test_an_end_is_a_moment_whatever_its_time_zone(ledger: Ledger, engine: Engine) -> None:
    until = datetime(2101, 1, 1, 1, tzinfo=datetime.fromisoformat("2101-01-01T01:00+05:30").tzinfo)
    assert set_hold(engine, "parcels", "ann", WHY, until).end == "until 2100-12-31 19:30 UTC"


def test_an_end_that_is_over_is_refused(engine: Engine) -> None:
    with pytest.raises(HoldError, match=r"expected an end in the future; found 2026-03-01T12:00:00\+00:00, which is"):
        set_hold(engine, "parcels", "ann", WHY, until=NOON)
    assert active_hold(engine, "parcels") is None


def test_the_newest_hold_counts(engine: Engine) -> None:
    set_hold(engine, "parcels", "ann", WHY)
    set_hold(engine, "parcels", "bob", WHY, until=datetime(2101, 1, 1, tzinfo=UTC))
    hold = active_hold(engine, "parcels")
    assert hold is not None
    assert (hold.actor, hold.end) == ("bob", "until 2101-01-01 00:00 UTC")


def test_a_hold_of_a_deleted_model_is_not_one_of_its_next_life(ledger: Ledger, engine: Engine) -> None:
    set_hold(engine, "parcels", "ann", WHY)
    with engine.begin() as connection:
        record_deletion(connection, "parcels", "ann", "nobody uses it any more")
    assert active_hold(engine, "parcels") is None
    assert promote(ledger, register(ledger, NOON - timedelta(days=300))).to_version == 3, "nor are its data"
    set_hold(engine, "parcels", "bob", WHY)
    assert active_hold(engine, "parcels") is not None


def test_a_rollback_and_its_hold_are_one_transaction(ledger: Ledger, engine: Engine) -> None:
    promote(ledger, 2)
    with pytest.raises(PromotionConflictError):
        ledger.promote(
            "parcels", 1, actor="ann", reason=WHY, evidence_digest="e", expected_sequence=1, by_name=True, hold=True
        )
    assert active_hold(engine, "parcels") is None, "a lost race holds nothing"
    back = promote(ledger, 1, by_name=True, hold=True)
    hold = active_hold(engine, "parcels")
    assert hold is not None
    assert (hold.actor, hold.reason, hold.held_until) == (back.actor, back.reason, None)


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM sluice.promotion_hold", "UPDATE sluice.promotion_hold SET held = false",
        "TRUNCATE sluice.promotion_hold",
        "INSERT INTO sluice.promotion_hold (model, held, actor, reason) VALUES ('parcels', true, 'ann', 'x')",
        """INSERT INTO sluice.promotion_hold (model, held, held_until, actor, reason)
           VALUES ('parcels', false, '2101-01-01', 'ann', 'because of the alarms')""",
    ],
)  # fmt: skip
def test_the_database_keeps_every_hold_and_every_reason(engine: Engine, statement: str) -> None:
    set_hold(engine, "parcels", "ann", WHY)
    with pytest.raises(DBAPIError), engine.begin() as connection:
        connection.execute(text(statement))


# -- what a role may ----------------------------------------------------------------------------------


@pytest.fixture
def trainer(database_url: str) -> Iterator[Engine]:
    """An engine of a login that may retrain, and nothing else."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE trains LOGIN PASSWORD '{PASSWORD}' IN ROLE sluice_trainer")
    address = make_url(database_url).set(username="trains", password=PASSWORD)
    engine = open_engine(address.render_as_string(hide_password=False))
    yield engine
    engine.dispose()
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("DROP ROLE trains")


def test_the_trainer_can_neither_set_a_hold_nor_pass_one(ledger: Ledger, engine: Engine, trainer: Engine) -> None:
    set_hold(engine, "parcels", "ann", WHY)
    with pytest.raises(PromotionHeldError):
        promote(Ledger(trainer), 2, by_name=True)
    for work in (lambda: lift_hold(trainer, "parcels", "eve", WHY), lambda: set_hold(trainer, "parcels", "eve", WHY)):
        with pytest.raises(DBAPIError, match="permission denied"):
            work()


def test_an_operator_sets_lifts_and_promotes_by_name(ledger: Ledger, database_url: str) -> None:
    operator = open_engine(under_role(database_url, "sluice_operator"))
    set_hold(operator, "parcels", "ann", WHY)
    with pytest.raises(PromotionHeldError):
        promote(Ledger(operator), 2)
    assert promote(Ledger(operator), 2, by_name=True).to_version == 2
    assert promote(Ledger(operator), 1, by_name=True, hold=True).to_version == 1
    assert lift_hold(operator, "parcels", "ann", WHY) is not None
    operator.dispose()


# -- races --------------------------------------------------------------------------------------------


def _retrain_promotes(url: str, started: str) -> str:
    engine = open_engine(url)
    try:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(f"NOTIFY {started}")
        promote(Ledger(engine), 2)
    except (PromotionHeldError, PromotionConflictError) as error:
        return type(error).__name__
    else:
        return "promoted"
    finally:
        engine.dispose()


def test_a_retrain_that_promotes_during_a_rollback_waits_for_it_and_is_held(
    ledger: Ledger, engine: Engine, database_url: str
) -> None:
    promote(ledger, register(ledger))  # version 3; the operator goes back to version 1
    with (
        get_context("spawn").Pool(1) as pool,
        engine.begin() as rollback,
        psycopg.connect(database_url, autocommit=True) as listening,
    ):
        listening.execute("LISTEN started")
        rollback.execute(
            text("SELECT sluice.promote('parcels', 1, 2, 'ann', :why, 'e', by_name => true)"), {"why": WHY}
        )
        retrain = pool.apply_async(_retrain_promotes, (database_url, "started"))
        assert next(listening.notifies(timeout=30)).channel == "started"
        rollback.execute(
            text("INSERT INTO sluice.promotion_hold (model, held, actor, reason) VALUES (:model, true, 'ann', :why)"),
            {"model": "parcels", "why": WHY},
        )
        assert not retrain.ready()
        rollback.commit()
        assert retrain.get(30) == "PromotionHeldError"
    assert [each.to_version for each in ledger.promotions("parcels")] == [1, 3, 1]


# -- older data ---------------------------------------------------------------------------------------


def test_data_that_end_before_those_of_the_champion_are_refused_unless_asked_for(ledger: Ledger) -> None:
    older = register(ledger, NOON - timedelta(days=1))
    with pytest.raises(OlderDataError) as refused:
        promote(ledger, older)
    assert (
        "expected data that end at 2026-03-01 12:00 UTC or later, as those of the champion (version 1) do; "
        "found data that end at 2026-02-28 12:00 UTC."
    ) in str(refused.value)
    assert promote(ledger, older, allow_older=True).to_version == older
    assert promote(ledger, 1).to_version == 1, "newer data need no leave"
    assert promote(ledger, older, by_name=True).to_version == older


def test_a_champion_that_moved_meanwhile_is_a_conflict_whatever_the_data(ledger: Ledger) -> None:
    older = register(ledger, NOON - timedelta(days=1))
    with pytest.raises(PromotionConflictError):
        ledger.promote("parcels", older, actor="dag", reason=WHY, evidence_digest="e", expected_sequence=0)


MOMENTS = st.none() | st.datetimes(
    min_value=datetime(2020, 1, 1), max_value=datetime(2030, 1, 1), timezones=st.just(UTC)  # noqa: DTZ001  # see timezones
)  # fmt: skip


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(champion=MOMENTS, candidate=MOMENTS)
def test_only_an_earlier_or_unknown_end_is_older(
    engine: Engine, champion: datetime | None, candidate: datetime | None
) -> None:
    ledger = Ledger(engine)
    promote(ledger, register(ledger, champion), by_name=True)
    version = register(ledger, candidate)
    older = champion is not None and (candidate is None or candidate < champion)
    try:
        promote(ledger, version)
        refused = False
    except OlderDataError:
        refused = True
    assert refused == older
