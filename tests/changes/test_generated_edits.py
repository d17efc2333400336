"""The classes of `sluice plan` against what a retrain and a score really do, on generated edits.

Nothing may be missed: what really happens is always announced. What is announced and does not happen is counted: a
rule is cautious where only the text of a query or the name of a column is known.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from include import pipeline
from include.errors import (
    ParityNotCheckedError,
    ScoreTableError,
    ShadowBoundsError,
    SluiceError,
    ValidationFailedError,
    VersionIncompatibleError,
)
from include.records import CHANGE_CLASSES, ChangePlan
from include.spec import ModelSpec
from include.steps.versions import open_version
from tests.builders import TODAY, retrain
from tests.changes.edits import BASE
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
    assert counted["cautious needs_retrain"] < 100


@pytest.mark.slow
def test_a_training_and_two_scores_of_each_edit_do_what_was_announced(world: World) -> None:
    trained = 0
    for seed, spec in world.edits(20, first=5000):
        if spec.approval is None:  # a model that ever needed approvals keeps needing them
            trained += train_and_score(world, seed, spec)
    assert trained >= 10


def train_and_score(world: World, seed: int, spec: ModelSpec) -> bool:
    """Score, train a version, promote it, score with it and roll back; return whether one could be trained."""
    plan, resources, former = world.plan(spec), world.resources, world.published[-1]
    try:
        again = pipeline.score(spec, f"{seed} before", world.newest, resources)
        assert not plan.stops_scoring, seed
        assert again.rows_digest == former.rows_digest, f"edit {seed} changed the champion's scores"
    except VersionIncompatibleError:
        assert plan.stops_scoring, seed
    except ValidationFailedError:
        assert plan.warnings, seed
    except ParityNotCheckedError:
        assert spec.scoring.parity == "block"
    try:
        version = retrain(spec, f"{seed} retrain", resources)
    except SluiceError:
        return False
    assert plan.obstacles == (), seed
    opened = open_version("parcels", version.version, resources, version.artifact_digest)
    files = ("model.onnx", "signature.json")
    if any(opened.artifact.digests[name] != world.champion.artifact.digests[name] for name in files):
        assert "needs_retrain" in plan.classes, seed
    try:
        pipeline.move_champion("parcels", version.version, "ann", "a trial of an edit", resources, spec)
        pipeline.score(spec, f"{seed} after", world.newest, resources)
    except ScoreTableError:
        assert "breaks_readers" in plan.classes, seed
    except (ShadowBoundsError, ValidationFailedError, ParityNotCheckedError) as refused:
        print(f"edit {seed}: {refused}")
    pipeline.move_champion("parcels", 1, "ann", "the next trial", resources, world.declare(BASE))
    pipeline.score(world.base, f"{seed} restored", world.newest, resources)
    return True
