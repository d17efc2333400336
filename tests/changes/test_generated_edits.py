"""The classes of `sluice plan` against what a retrain and a score really do, on generated edits.

Nothing may be missed: what really happens is always announced. What is announced and does not happen is counted: a
rule is cautious where only the text of a query or the name of a column is known.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from include import pipeline
from include.errors import ValidationFailedError
from include.records import CHANGE_CLASSES, ChangePlan
from include.spec import ModelSpec
from tests.builders import TODAY
from tests.changes.world import Outcome, World, open_world


@pytest.fixture(scope="module")
def world(new_database: Callable[[], str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with open_world(new_database(), tmp_path_factory.mktemp("changes")) as opened:
        yield opened


def faults_of(world: World, spec: ModelSpec, plan: ChangePlan, outcome: Outcome) -> list[str]:
    """Return what the plan of an edit says wrongly."""
    found = [f"{each} was not announced" for each in outcome.classes - {"compatible"} - set(plan.classes)]
    if plan.stops_scoring != outcome.stops_scoring:
        found.append(f"scoring stops: {outcome.stops_scoring}, announced: {plan.stops_scoring}")
    if plan.obstacles:
        try:
            pipeline.validate_training_data(spec, "a trial", TODAY, world.resources)
        except ValidationFailedError:
            return found
        found.append(f"it can be trained, and these were announced: {plan.obstacles}")
    return found


def compare(world: World, count: int) -> Counter[str]:
    """Compare `count` edits; return how many there were of each class, and how often a plan was too cautious."""
    counted: Counter[str] = Counter()
    faults = []
    for seed, spec in world.edits(count):
        plan, outcome = world.plan(spec), world.outcome(spec)
        faults += [f"edit {seed}: {fault}" for fault in faults_of(world, spec, plan, outcome)]
        counted.update(f"really {each}" for each in outcome.classes)
        counted.update(f"cautious {each}" for each in set(plan.classes) - outcome.classes - {"compatible"})
        counted["scoring stops"] += outcome.stops_scoring
        counted["cannot be trained"] += bool(plan.obstacles)
        counted["nothing differs"] += not plan.changes
    print(f"\n{count} edits: {dict(sorted(counted.items()))}")
    assert faults == []
    return counted


def test_what_an_edit_really_does_is_announced(world: World) -> None:
    counted = compare(world, 30)
    assert all(counted[f"really {each}"] for each in CHANGE_CLASSES)


@pytest.mark.slow
def test_what_a_thousand_edits_really_do_is_announced(world: World) -> None:
    counted = compare(world, 1000)
    assert counted["cautious breaks_readers"] < 50
    assert counted["cautious needs_retrain"] < 50
