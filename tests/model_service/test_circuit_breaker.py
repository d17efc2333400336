"""The circuit breaker, whatever the order of asking, succeeding, failing and waiting."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from model_service.db.circuit_breaker import CircuitBreaker, CircuitState, Permit

FAILURES, PAUSE = 3, 10.0


class AnyHistory(RuleBasedStateMachine):
    """Holds the breaker against a plain description of what it should do."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.breaker = CircuitBreaker(failures=FAILURES, reset_timeout=PAUSE, clock=lambda: self.now)
        self.in_a_row = 0
        self.opened_at: float | None = None
        self.trials: list[float] = []

    @rule(seconds=st.sampled_from([0.0, 0.1, PAUSE / 2, PAUSE, 3 * PAUSE]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def somebody_asks(self) -> None:
        before, answer = self.breaker.state, self.breaker.acquire()
        expected = {
            CircuitState.CLOSED: Permit.ALLOW,
            CircuitState.OPEN: Permit.REJECT,
            CircuitState.HALF_OPEN: Permit.PROBE,
        }[before]
        assert answer is expected
        if answer is Permit.PROBE:
            self.trials.append(self.now)

    @rule()
    def a_call_succeeds(self) -> None:
        self.breaker.record_success()
        self.in_a_row, self.opened_at, self.trials = 0, None, []
        assert self.breaker.state is CircuitState.CLOSED

    @rule()
    def a_call_fails(self) -> None:
        self.breaker.record_failure()
        self.in_a_row += 1
        if self.in_a_row >= FAILURES or self.opened_at is not None:
            self.opened_at = self.now
            assert self.breaker.state is CircuitState.OPEN

    @invariant()
    def it_is_closed_until_it_failed_often_enough(self) -> None:
        assert (self.breaker.state is CircuitState.CLOSED) == (self.opened_at is None)

    @precondition(lambda self: self.opened_at is not None)
    @invariant()
    def nobody_passes_within_the_pause(self) -> None:
        if self.now < self.opened_at + PAUSE:
            assert self.breaker.acquire() is Permit.REJECT

    @invariant()
    def trials_are_a_pause_apart(self) -> None:
        # Added, not subtracted: 25.1 - 15.1 is less than 10.
        assert all(later >= earlier + PAUSE for earlier, later in zip(self.trials, self.trials[1:], strict=False))


AnyHistory.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
test_whatever_happens_it_opens_pauses_and_tries_one_at_a_time = AnyHistory.TestCase


def test_it_opens_after_failures_in_a_row_and_closes_after_one_good_trial() -> None:
    now = 0.0
    breaker = CircuitBreaker(failures=2, reset_timeout=5, clock=lambda: now)
    breaker.record_failure()
    breaker.record_success()
    breaker.record_failure()
    assert breaker.acquire() is Permit.ALLOW, "not two in a row"
    breaker.record_failure()
    assert breaker.acquire() is Permit.REJECT
    now = 5.0
    assert breaker.state is CircuitState.HALF_OPEN
    assert [breaker.acquire(), breaker.acquire()] == [Permit.PROBE, Permit.REJECT], "one trial at a time"
    breaker.record_failure()
    now = 9.9
    assert breaker.acquire() is Permit.REJECT, "a failed trial starts the pause anew"
    now = 10.0
    assert breaker.acquire() is Permit.PROBE
    breaker.record_success()
    assert breaker.acquire() is Permit.ALLOW


def test_a_trial_that_never_reports_does_not_keep_it_open_for_ever() -> None:
    now = 0.0
    breaker = CircuitBreaker(failures=1, reset_timeout=5, clock=lambda: now)
    breaker.record_failure()
    now = 5.0
    assert breaker.acquire() is Permit.PROBE
    now = 9.0
    assert breaker.acquire() is Permit.REJECT
    now = 10.0
    assert breaker.acquire() is Permit.PROBE
