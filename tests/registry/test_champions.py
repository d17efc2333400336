"""Successive rollbacks go further back, never forward to a version that was rolled back."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from sqlalchemy import Engine

from include.errors import NoChampionError, PromotionConflictError, RollbackTargetError
from include.records import Promotion
from include.registry import Ledger, is_rollback, rollback_target, standing_champions
from tests.registry.test_ledger import promote, register

VERSIONS = st.integers(1, 6)


def promotions(*versions: int) -> tuple[Promotion, ...]:
    return tuple(
        Promotion(
            model="parcels", sequence=sequence, from_version=versions[sequence - 2] if sequence > 1 else None,
            to_version=version, actor="ann", reason="a reason of a test", evidence_digest="e",
            promoted_at=datetime(2026, 3, 1, tzinfo=UTC),
        )
        for sequence, version in enumerate(versions, 1)
    )  # fmt: skip


@pytest.mark.parametrize(
    ("history", "target"),
    [
        ((1, 2), 1),
        ((1, 2, 3), 2),
        ((1, 2, 3, 2), 1),  # the second rollback of two: not version 3
        ((1, 2, 3, 1, 4), 1),
        ((1, 2, 1, 2), 1),  # version 2 was promoted again, deliberately
        ((1, 2, 2), 1),  # confirmed
        ((5, 2), 5),  # an older number, promoted for the first time, is no rollback
    ],
)
def test_a_rollback_goes_to_the_champion_before(history: tuple[int, ...], target: int) -> None:
    assert rollback_target("parcels", promotions(*history)) == target


@pytest.mark.parametrize(
    ("history", "found"),
    [
        ((1,), "found none. The champion stays"),
        ((1, 2, 1), "found none; rolled back: version 2. The champion stays"),
        ((1, 2, 3, 1), "found none; rolled back: version 2, version 3. The champion stays"),
    ],
)
def test_when_nothing_is_left_it_says_so(history: tuple[int, ...], found: str) -> None:
    with pytest.raises(RollbackTargetError) as error:
        rollback_target("parcels", promotions(*history))
    assert "a version that was champion before version 1, and was not rolled back" in str(error.value)
    assert found in str(error.value)
    assert "`sluice promote parcels VERSION --reason ...`" in str(error.value)


@pytest.mark.parametrize(
    ("version", "found"), [(3, "was rolled back"), (9, "was never champion"), (2, "is the champion")]
)
def test_a_named_version_is_an_earlier_champion_that_stands(version: int, found: str) -> None:
    history = promotions(1, 2, 3, 2)
    assert rollback_target("parcels", history, 1) == 1
    with pytest.raises(RollbackTargetError, match=rf"\(version 1\); found version {version}, which {found}\."):
        rollback_target("parcels", history, version)


def test_without_a_champion_there_is_nothing_to_roll_back() -> None:
    assert standing_champions([]) == ()
    with pytest.raises(NoChampionError):
        rollback_target("parcels", ())


@given(st.lists(VERSIONS, min_size=1, max_size=30))
def test_rollbacks_after_any_history_end_and_return_to_nothing(history: list[int]) -> None:
    left = {history[-1]}
    while True:
        try:
            target = rollback_target("parcels", promotions(*history))
        except RollbackTargetError:
            break
        assert target not in left
        assert is_rollback(promotions(*history, target)[-1], promotions(*history))
        history = [*history, target]
        left.add(target)
    assert set(standing_champions(history)) == {history[-1]}


class Operator(RuleBasedStateMachine):
    """A person promotes and rolls back. The model knows when each version was last promoted, and what was left since.

    It has no stack, so that it is no copy of the function: a version is left by a rollback to one that was promoted
    before it, until it is promoted again.
    """

    def __init__(self) -> None:
        super().__init__()
        self.history: list[int] = []
        self.promoted_at: dict[int, int] = {}
        self.left: set[int] = set()

    def move(self, version: int) -> None:
        self.history.append(version)
        if version in self.promoted_at and version not in self.left:  # back to it, or confirmed
            self.left |= {each for each, at in self.promoted_at.items() if at > self.promoted_at[version]}
        else:
            self.promoted_at[version] = len(self.history)
            self.left.discard(version)

    @rule(version=VERSIONS)
    def promote(self, version: int) -> None:
        self.move(version)

    @precondition(lambda self: self.history)
    @rule()
    def roll_back(self) -> None:
        candidates = set(self.promoted_at) - self.left - {self.history[-1]}
        try:
            target = rollback_target("parcels", promotions(*self.history))
        except RollbackTargetError:
            assert not candidates, "it says that nothing is left only when nothing is"
            return
        assert target == max(candidates, key=self.promoted_at.__getitem__)
        assert target not in self.left
        self.move(target)

    @invariant()
    def what_stands_is_what_was_not_left(self) -> None:
        assert set(standing_champions(self.history)) == set(self.promoted_at) - self.left
        assert list(standing_champions(self.history)[-1:]) == self.history[-1:]


TestOperator = Operator.TestCase
TestOperator.settings = settings(max_examples=50, stateful_step_count=30)


def test_of_two_concurrent_rollbacks_one_succeeds_and_one_is_a_conflict(engine: Engine) -> None:
    ledger = Ledger(engine)
    for number in (1, 2, 3):
        register(ledger, f"run {number}")
        promote(ledger, number, number - 1)
    seen = ledger.promotions("parcels")
    assert promote(ledger, rollback_target("parcels", seen), len(seen)).to_version == 2
    with pytest.raises(PromotionConflictError, match="'ann' promoted version 2 first"):
        promote(ledger, rollback_target("parcels", seen), len(seen), actor="bob")
