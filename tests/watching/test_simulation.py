"""24 simulated hours of 100 models with planted faults: all are found, and nobody is woken up for anything else."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final, NamedTuple

import pytest

from include.spec import Freshness, ModelSpec, ScoreStart
from include.watching import find_problems
from include.watching.expected import expected_partitions
from include.watching.state import Publications, WatchState
from tests.watching.faults import OF_A_MODEL, OF_ALL
from tests.watching.states import DAY, HOUR, MINUTE, NOW, SINCE, declared, healthy, with_airflow, with_ledger

BEGIN: Final = NOW.replace(hour=0)
LOOKS: Final = timedelta(minutes=5)
MODELS: Final = 100
SCHEDULES: Final = ("0 0 * * *", "0 * * * *", "0 6 * * *", "*/30 * * * *", "0 0 * * 1")
ZONES: Final = ("UTC", "Europe/Berlin", "America/New_York")
SCORING_TIME: Final = 10 * MINUTE
"""How long after its end, or the latest start of its run, a partition is published while everything works."""


class Planted(NamedTuple):
    """A fault of a model, or of everything, from one time to another."""

    name: str
    model: str | None
    begin: datetime
    end: datetime

    @property
    def kind(self) -> str:
        return (OF_ALL if self.model is None else OF_A_MODEL)[self.name][1]


def models() -> dict[str, ModelSpec]:
    found = {}
    for number in range(MODELS):
        name = f"model_{number:02}"
        start = ScoreStart(delay=MINUTE * (number % 3) * 20) if number % 5 != 3 else ScoreStart()
        found[name] = declared(
            name,
            score_schedule=SCHEDULES[number % len(SCHEDULES)],
            score_timezone=ZONES[number % len(ZONES)],
            score_start=start,
            freshness=Freshness(labels_by=3 * DAY),
        )
    return found


def planted(specs: dict[str, ModelSpec]) -> list[Planted]:
    """Plant each kind of fault into a model that has it, spread over the day; the other models stay well."""
    names, found = list(specs), []
    for place, name in enumerate(OF_A_MODEL):
        begin = BEGIN + place * HOUR
        # Of hourly models: within the hours, something is late of them.
        model = names[place * len(SCHEDULES) + 1]
        found.append(Planted(name, model, begin, begin + 5 * HOUR))
    for place, name in enumerate(OF_ALL):
        begin = BEGIN + place * 2 * HOUR + 30 * MINUTE
        found.append(Planted(name, None, begin, begin + 20 * MINUTE))
    return found


def scored_until(spec: ModelSpec, now: datetime) -> Publications | None:
    takes = spec.score_start.longest + SCORING_TIME
    done = [each for each in expected_partitions(spec, SINCE, now) if each.end + takes <= now]
    return Publications(((done[0].start, done[-1].end),), done[-1].start, done[-1].end, 1) if done else None


def state_at(specs: dict[str, ModelSpec], now: datetime) -> WatchState:
    state = healthy(*specs.values(), now=now)
    scored = {name: scored_until(spec, now) for name, spec in specs.items()}
    return with_ledger(state, publications={name: each for name, each in scored.items() if each is not None})


@pytest.mark.slow
def test_a_day_of_a_hundred_models_has_the_pages_that_were_planted_and_no_other() -> None:
    specs = models()
    plan = planted(specs)
    seen: dict[Planted, datetime] = {}
    counts: Counter[tuple[str, str]] = Counter()
    former: set[tuple[str, str | None]] = set()
    looks = 0
    now = BEGIN
    while now < BEGIN + DAY:
        state, active = state_at(specs, now), [each for each in plan if each.begin <= now < each.end]
        for each in sorted(active, key=lambda each: (each.model is None, each.name == "broken")):
            if each.model is not None:
                state = OF_A_MODEL[each.name][0](state, each.model, now)
        for each in active:
            if each.model is None:
                state = OF_ALL[each.name][0](state, now)
        problems = find_problems(state, now)
        found = {(problem.kind, problem.model) for problem in problems}
        assert len(found) == len(problems), "one problem for each cause"
        wanted = {(each.kind, each.model): each for each in active}
        assert found <= set(wanted), f"{now}: {found - set(wanted)} was not planted"
        for key in found:
            seen.setdefault(wanted[key], now)
        for problem in problems:
            if (problem.kind, problem.model) not in former:
                counts[problem.severity, problem.kind] += 1
        former, now, looks = found, now + LOOKS, looks + 1

    missed = [each for each in plan if each not in seen and each.begin < BEGIN + DAY]
    assert missed == []
    slow = [(each, at) for each, at in seen.items() if at - each.begin > 30 * MINUTE]
    assert slow == [], "a fault is found at the first look, unless one of 20 minutes hides it"
    severities = Counter(severity for severity, _ in counts.elements())
    print(f"{looks} looks at {MODELS} models: {dict(severities)}, of {len(plan)} planted faults; recall {len(seen)}")


@pytest.mark.slow
def test_a_month_in_which_everything_works_wakes_nobody() -> None:
    """With the change of clocks: the schedules of three time zones, looked at each hour."""
    specs = {name: spec for name, spec in models().items() if int(name[-2:]) < 15}
    for hour in range(0, 30 * 24, 7):
        now = NOW + timedelta(hours=hour)
        state = state_at(specs, now)
        assert find_problems(state, now) == (), now


def test_a_scheduler_that_is_dead_for_a_night_is_one_page() -> None:
    specs = models()
    died = BEGIN + HOUR
    pages: Counter[str] = Counter()
    for minutes in range(0, 8 * 60, 120):
        now = died + timedelta(minutes=minutes)
        state = with_ledger(state_at(specs, now), publications=state_at(specs, died).ledger.publications)  # type: ignore[union-attr]
        state = with_airflow(state, heartbeats={"scheduler": died, "dag_processor": now, "triggerer": now})
        pages.update(problem.kind for problem in find_problems(replace(state, heartbeats={}), now))
    assert set(pages) == {"dead_scheduler"}
