"""A reason is trimmed and has ten visible characters: in the steps, and in the database for whoever writes with SQL."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine, text
from sqlalchemy.exc import IntegrityError

from include import pipeline
from include.errors import ReasonError
from include.reasons import check_reason
from include.resources import Resources

NOTHING = " \t\n\r\u00a0\u2003\u3000\u200b\u2060\ufeff\u00ad\u202e\u0000\u3164\u2800\u200d\u200c"


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ("worse on Mondays", "worse on Mondays"),
        ("  worse\non\tMondays \u00a0", "worse on Mondays"),
        ("wrong data", "wrong data"),
        ("\u200bwrong data\ufeff", "wrong data"),
        ("schlechter für Köln", "schlechter für Köln"),
        ("星期一的结果比以前差很多", "星期一的结果比以前差很多"),
        ("\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645 \u0628\u0631\u06af\u0631\u062f\u06cc\u0645",) * 2,
    ],
)
def test_it_is_stored_trimmed(text: str, stored: str) -> None:
    assert check_reason(text) == stored


@pytest.mark.parametrize(
    "text",
    ["", "x", "too short", "a" + " " * 20 + "b", "a\u200bb" + "\u200d" * 20, "a" + " \u200d" * 9 + " b", "." * 9],
)
def test_too_short_is_none(text: str) -> None:
    with pytest.raises(ReasonError, match="--reason: expected a reason of at least 10 visible characters; found"):
        check_reason(text)


@given(st.text(alphabet=NOTHING))
def test_what_nobody_sees_is_no_reason(text: str) -> None:
    with pytest.raises(ReasonError, match="found none"):
        check_reason(text)


@given(st.text())
def test_what_is_stored_is_a_reason_again_and_one_line(text: str) -> None:
    try:
        stored = check_reason(text)
    except ReasonError:
        return
    assert check_reason(stored) == stored
    assert len(stored.splitlines()) == 1
    assert stored == stored.strip()


def test_every_step_that_takes_a_reason_refuses_a_short_one_first(resources: Resources) -> None:
    for call in (
        lambda: pipeline.move_champion("parcels", 1, "ann", "short", resources),
        lambda: pipeline.roll_back("parcels", None, "ann", " \u00a0 " * 9, resources),
        lambda: pipeline.approve_version(None, 1, "ann", "short", resources),
        lambda: pipeline.record_approval(None, None, "approved", "ann", None, "", resources),
        lambda: pipeline.record_approval(None, None, "rejected", "ann", None, "no", resources),
        lambda: pipeline.attest("parcels", "model-3", "done", "ann", resources),
        lambda: pipeline.hold_promotions("parcels", "ann", "short", resources, None),
        lambda: pipeline.release_hold("parcels", "ann", "short", resources, None),
        lambda: pipeline.drop_partition(None, "2026-02-18", "ann", "short", resources),
    ):
        with pytest.raises(ReasonError):
            call()


WRITTEN = {
    "approval_waiver": "(model, after_version, actor, reason) VALUES ('m', 1, 'ann', :reason)",
    "attestation": "(model, test, statement, actor, attested_at, signature)"
    " VALUES ('m', 'model-3', :reason, 'ann', now(), '{}')",
    "promotion": "VALUES ('m', 1, NULL, 1, 'ann', :reason, 'e')",
    "approval": "(model, version, evidence_digest, decision, approver, comment, champion_sequence, newest_version)"
    " VALUES ('m', 1, 'e', 'rejected', 'ann', :reason, 0, 1)",
    "promotion_hold": "(model, held, actor, reason) VALUES ('m', true, 'ann', :reason)",
    "partition_removal": "VALUES ('m', now(), 1, 1, :reason)",
}


@pytest.mark.parametrize("table", WRITTEN)
def test_the_database_takes_no_short_reason_whoever_writes_it(engine: Engine, table: str) -> None:
    def constraint(reason: str) -> str | None:
        """Return the constraint that refuses a row; a good reason gets as far as the foreign key of its version."""
        with engine.connect() as connection:
            try:
                connection.execute(text(f"INSERT INTO sluice.{table} {WRITTEN[table]}"), {"reason": reason})
            except IntegrityError as error:
                return error.orig.diag.constraint_name
        return None

    for bad in ("too short", " padded with spaces", "\u00a0\u200b" * 10, "a vertical tab at the end\v"):
        assert constraint(bad) in ("reason_is_given", "comment_is_given", "statement_is_given"), repr(bad)
    for good in ("wrong data", "very wrong data, v"):
        assert not str(constraint(good)).endswith("_is_given")
