"""Safe by order: one declaration a run, no older data, no retrain after a rollback, one version of one origin."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text

from include import pipeline
from include.errors import (
    DeclarationChangedError,
    HoldError,
    NothingNewError,
    OlderDataError,
    PromotionHeldError,
    ReasonError,
    RetrainRunningError,
    UnknownModelError,
)
from include.flows import RETRAIN, SCORE, Step
from include.models import declared_models, read_spec
from include.records import ModelVersion, Period
from include.registry import active_hold, record_deletion, retrain_lock
from include.resources import Resources
from include.spec import ModelSpec
from include.steps.operate import promote
from tests.builders import APPROVED_SPEC, SPEC, TODAY, declare_model, load_parcels, promote_first, retrain

DAY = Period.of_day(date(2026, 2, 20))
WHY = "because of the alarms"


@pytest.fixture
def spec(resources: Resources) -> ModelSpec:
    load_parcels(resources.engine)
    return declare_model(resources.settings.home / "models")


def edit(spec: ModelSpec, name: str = "spec.py", line: str = "# edited") -> None:
    file = spec.folder / name
    file.write_text(file.read_text() + f"{line}\n")


def train(spec: ModelSpec, run: str, resources: Resources, as_of: datetime = TODAY, **how: Any) -> ModelVersion:
    return pipeline.retrain(spec, run, as_of, resources, rehearsal=None, until="gate", **how).version


# -- a run keeps the declaration that it began with ---------------------------------------------------


def before(name: str, act: Callable[[], None]) -> Callable[[Step], Any]:
    """Return what runs each step, and acts before the step of this name."""

    @contextmanager
    def around(step: Step) -> Iterator[None]:
        if step.name == name:
            act()
        yield

    return around


@pytest.mark.parametrize(
    ("step", "file"),
    [
        ("snapshot", "spec.py"), ("train", "features.sql"), ("export", "spec.py"), ("parity", "spec.py"),
        ("evaluate", "spec.py"), ("gate", "features.sql"), ("gate", "spec.py"), ("promote", "spec.py"),
    ],
)  # fmt: skip
def test_an_edit_before_any_step_of_a_retrain_ends_it(
    spec: ModelSpec, resources: Resources, step: str, file: str
) -> None:
    comment = "# edited" if file == "spec.py" else "-- edited"
    with pytest.raises(DeclarationChangedError, match="the declaration changed: run again") as ended:
        pipeline.retrain(
            spec, "run", TODAY, resources, actor="ann", rehearsal=None,
            around=before(step, lambda: edit(spec, file, comment)),
        )  # fmt: skip
    kept = "Version 1 is registered and not promoted" if step == "promote" else "Nothing was registered"
    assert kept in str(ended.value)
    assert resources.ledger.version_numbers("parcels") == ([1] if step == "promote" else [])
    assert resources.ledger.champion("parcels") is None


@pytest.mark.parametrize("step", ["plan", "score", "publish"])
def test_an_edit_before_any_step_of_a_score_ends_it(spec: ModelSpec, resources: Resources, step: str) -> None:
    promote_first(spec, resources)
    with pytest.raises(DeclarationChangedError, match="Nothing was published; the former rows stay"):
        pipeline.score(spec, "run", DAY, resources, around=before(step, lambda: edit(spec)))
    assert resources.ledger.published_partitions("parcels") == ()


@pytest.mark.parametrize("flow", [RETRAIN, SCORE], ids=["retrain", "score"])
def test_every_step_up_to_the_last_takes_a_result_that_names_the_declaration(flow: tuple[Step, ...]) -> None:
    last = "promote" if flow is RETRAIN else "publish"
    names = [step.name for step in flow]
    pinned = {"report", "snapshot", "fitted", "exported", "version", "plan"}
    for step in flow[1 : names.index(last) + 1]:
        assert pinned & set(step.takes), step.name


def test_tasks_that_read_the_edited_declaration_again_end_too(spec: ModelSpec, resources: Resources) -> None:
    report = pipeline.validate_training_data(spec, "run", TODAY, resources)
    edit(spec)
    values = {"as_of": TODAY, "report": report, "run_id": "run", "again": False}
    snapshot = next(step for step in RETRAIN if step.name == "snapshot")
    with pytest.raises(DeclarationChangedError):
        pipeline.run_step(snapshot, read_spec(spec.folder / "spec.py"), values, resources)


def test_an_edit_between_the_reading_of_the_declaration_and_the_first_step_ends_the_run(
    spec: ModelSpec, resources: Resources
) -> None:
    edit(spec)
    with pytest.raises(DeclarationChangedError, match=r"Nothing was changed\. Start a new run"):
        train(spec, "run", resources)


def test_a_declaration_that_is_gone_ends_the_run(spec: ModelSpec, resources: Resources) -> None:
    with pytest.raises(DeclarationChangedError):
        train(spec, "run", resources, around=before("train", lambda: (spec.folder / "spec.py").unlink()))


def test_the_edited_declaration_is_trained_by_the_next_run(spec: ModelSpec, resources: Resources) -> None:
    with pytest.raises(DeclarationChangedError):
        train(spec, "run 1", resources, around=before("train", lambda: edit(spec)))
    changed = read_spec(spec.folder / "spec.py")
    assert train(changed, "run 2", resources).spec_digest == changed.digest == changed.read_digest


def test_the_digest_is_that_of_the_code_that_ran_also_after_an_edit_of_the_same_second_and_size(
    resources: Resources,
) -> None:
    models = resources.settings.home / "models"
    first = declare_model(models, spec=SPEC)
    status = (first.folder / "spec.py").stat()
    (first.folder / "spec.py").write_text(SPEC.replace("{name}", "parcels").replace("days=40", "days=39"))
    os.utime(first.folder / "spec.py", ns=(status.st_atime_ns, status.st_mtime_ns))
    second = read_spec(first.folder / "spec.py")
    assert (first.window.train.days, second.window.train.days) == (40, 39)
    assert second.read_digest == second.digest != first.read_digest


# -- older data ---------------------------------------------------------------------------------------


def older(spec: ModelSpec, resources: Resources) -> ModelVersion:
    """Register a version whose data end a day before those of the champion."""
    return train(spec, "older", resources, TODAY - timedelta(days=1))


def test_a_retrain_of_an_older_day_does_not_replace_a_newer_champion(spec: ModelSpec, resources: Resources) -> None:
    promote_first(spec, resources)
    version = older(spec, resources)
    assert version.decision.accepted
    with pytest.raises(OlderDataError, match=r"expected data that end at 2026-03-01 00:00 UTC .* found .*02-28"):
        pipeline.promote_candidate(spec, version, "dag", resources)
    assert [each.to_version for each in resources.ledger.promotions("parcels")] == [1]


def test_asked_for_by_name_it_does_and_the_ledger_has_the_reason(spec: ModelSpec, resources: Resources) -> None:
    promote_first(spec, resources)
    version = older(spec, resources)
    with pytest.raises(ReasonError, match="--allow-older"):
        pipeline.promote_candidate(spec, version, "ann", resources, allow_older="x")
    made = pipeline.promote_candidate(spec, version, "ann", resources, allow_older="the newest day is a strike")
    assert made.to_version == version.version
    assert made.reason == ("passed 4 gates; its data may end before those of the champion: the newest day is a strike")


def test_data_that_end_on_the_same_day_are_not_older(spec: ModelSpec, resources: Resources) -> None:
    promote_first(spec, resources)
    same = train(spec, "same", resources, TODAY.replace(hour=1), again=True)
    assert pipeline.promote_candidate(spec, same, "dag", resources).sequence == 2


def test_a_person_promotes_older_data_by_naming_the_version(spec: ModelSpec, resources: Resources) -> None:
    promote_first(spec, resources)
    version = older(spec, resources).version
    assert pipeline.move_champion("parcels", version, "ann", WHY, resources, spec).to_version == version


# -- holds --------------------------------------------------------------------------------------------


def test_what_was_rolled_back_is_not_promoted_again_by_the_next_retrain(spec: ModelSpec, resources: Resources) -> None:
    promote_first(spec, resources)
    second = retrain(spec, "second", resources)
    pipeline.promote_candidate(spec, second, "dag", resources)
    pipeline.roll_back("parcels", None, "ann", WHY, resources, spec)
    hold = active_hold(resources.engine, "parcels")
    assert hold is not None
    assert (hold.actor, hold.reason, hold.end) == ("ann", WHY, "until it is lifted")
    with pytest.raises(PromotionHeldError, match=f"ann holds promotions of 'parcels' .*reason: {WHY}"):
        pipeline.promote_candidate(spec, retrain(spec, "third", resources), "dag", resources)
    assert resources.ledger.version_numbers("parcels") == [1, 2, 3], "it is registered and judged"
    with pytest.raises(PromotionHeldError):  # a task that is cleared
        pipeline.promote_candidate(spec, second, "dag", resources)


@pytest.mark.parametrize("way", ["rollback", "promotion of the former champion"])
def test_every_way_back_holds_and_no_way_forward(spec: ModelSpec, resources: Resources, way: str) -> None:
    promote_first(spec, resources)
    retrain(spec, "second", resources)
    pipeline.move_champion("parcels", 2, "ann", "a step forward", resources, spec)
    pipeline.move_champion("parcels", 2, "ann", "confirmed once more", resources, spec)
    assert active_hold(resources.engine, "parcels") is None
    if way == "rollback":
        pipeline.roll_back("parcels", None, "ann", WHY, resources, spec)
    else:
        pipeline.move_champion("parcels", 1, "ann", WHY, resources, spec)
    assert active_hold(resources.engine, "parcels") is not None


def test_a_model_is_held_if_it_is_declared_broken_or_registered(spec: ModelSpec, resources: Resources) -> None:
    models = declared_models(spec.folder.parent)
    with pytest.raises(UnknownModelError, match="there is no model 'parsels'; declared models: parcels"):
        pipeline.hold_promotions("parsels", "ann", WHY, resources, models)
    assert pipeline.hold_promotions("parcels", "ann", WHY, resources, models).model == "parcels"
    (spec.folder / "spec.py").write_text("no = declaration")
    assert pipeline.hold_promotions("parcels", "ann", WHY, resources, declared_models(spec.folder.parent))


def test_a_hold_that_is_not_in_force_is_not_lifted(spec: ModelSpec, resources: Resources) -> None:
    models = declared_models(spec.folder.parent)
    with pytest.raises(HoldError, match="expected a hold in force; found none"):
        pipeline.release_hold("parcels", "ann", WHY, resources, models)
    with pytest.raises(ReasonError):
        pipeline.release_hold("parcels", "ann", "x", resources, models)


def test_an_approved_candidate_waits_for_the_end_of_the_hold_and_a_person_promotes_it(resources: Resources) -> None:
    load_parcels(resources.engine)
    spec = declare_model(resources.settings.home / "models", spec=APPROVED_SPEC)
    version = retrain(spec, "run", resources)
    models = declared_models(spec.folder.parent)
    pipeline.hold_promotions("parcels", "ann", WHY, resources, models)
    pipeline.approve_version(spec, version.version, "bob", "seen on the card", resources)
    with pytest.raises(PromotionHeldError):
        pipeline.promote_candidate(spec, version, "dag", resources)
    assert resources.ledger.champion("parcels") is None
    assert pipeline.move_champion("parcels", 1, "ann", WHY, resources, spec).to_version == 1


# -- one version of one origin ------------------------------------------------------------------------


def test_a_second_retrain_of_the_same_rows_and_declaration_ends_with_nothing_new(
    spec: ModelSpec, resources: Resources
) -> None:
    version = train(spec, "run 1", resources)
    pipeline.promote_candidate(spec, version, "dag", resources)
    with pytest.raises(NothingNewError, match=r"nothing new: version 1 \(run run 1\).* It is the champion"):
        train(spec, "run 2", resources, TODAY.replace(hour=20))
    assert resources.ledger.version_numbers("parcels") == [1]
    assert train(spec, "run 1", resources) == version, "the same run again returns its version"
    assert train(spec, "run 3", resources, again=True).version == 2


def test_a_rejected_version_says_so(spec: ModelSpec, resources: Resources) -> None:
    strict = declare_model(spec.folder.parent, spec=SPEC.replace("margin=-0.5", "margin=0.5"))
    assert not train(strict, "run 1", resources).decision.accepted
    with pytest.raises(NothingNewError, match="Gates rejected it"):
        train(strict, "run 2", resources)


@pytest.mark.parametrize("news", ["an edit", "other rows"])
def test_whatever_is_new_makes_a_version(spec: ModelSpec, resources: Resources, news: str) -> None:
    promote_first(spec, resources)
    if news == "an edit":
        edit(spec)
    else:
        change(resources, "UPDATE source.parcels SET weight = 1 WHERE fragile")
    assert train(read_spec(spec.folder / "spec.py"), "run 2", resources).version == 2


def test_the_same_rows_split_at_other_times_are_another_origin(spec: ModelSpec, resources: Resources) -> None:
    change(resources, "DELETE FROM source.parcels WHERE sent_at < '2026-01-20' OR sent_at >= '2026-02-28'")
    first = train(spec, "run 1", resources, TODAY)
    pipeline.promote_candidate(spec, first, "dag", resources)
    second = train(spec, "run 2", resources, TODAY - timedelta(days=1))
    assert first.data_digest == second.data_digest
    assert second.version == 2


def test_a_deleted_model_is_trained_anew(spec: ModelSpec, resources: Resources) -> None:
    promote_first(spec, resources)
    with resources.engine.begin() as connection:
        record_deletion(connection, "parcels", "ann", "nobody uses it any more")
    assert train(spec, "run 2", resources).version == 2


def test_a_run_that_was_killed_before_its_promotion_is_gone_on_with(spec: ModelSpec, resources: Resources) -> None:
    killed = train(spec, "run 1", resources)
    again = train(spec, "run 2", resources)
    assert again == killed, "nothing is registered a second time"
    assert pipeline.promote_candidate(spec, again, "dag", resources).to_version == 1
    assert resources.ledger.version_numbers("parcels") == [1]


def test_two_runs_that_promote_the_same_version_have_one_promotion(spec: ModelSpec, resources: Resources) -> None:
    version = train(spec, "run 1", resources)
    read = resources.ledger.champion("parcels")
    first = pipeline.promote_candidate(spec, version, "dag", resources)
    assert read is None
    assert promote(version, read, 0, "ann", WHY, resources, spec) == first


def test_two_retrains_at_once_register_one_version(spec: ModelSpec, resources: Resources) -> None:
    """As tasks of Airflow, which exclude each other step by step."""
    made: list[ModelVersion] = []
    barrier = threading.Barrier(2)

    def run(name: str) -> None:
        values: dict[str, Any] = {
            "run_id": name, "as_of": TODAY, "requested_by": None, "rehearsal": None, "again": False
        }  # fmt: skip
        barrier.wait()
        for step in RETRAIN[: [each.name for each in RETRAIN].index("gate") + 1]:
            if step.declared(spec) and step.name != "rehearse":
                with retrain_lock(resources.engine, "parcels", wait=60):
                    values[step.gives] = pipeline.run_step(step, spec, values, resources)
        made.append(values["version"])

    threads = [threading.Thread(target=run, args=(f"run {number}",)) for number in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert resources.ledger.version_numbers("parcels") == [1]
    assert [each.version for each in made] == [1, 1]


def test_one_retrain_of_a_model_at_a_time(spec: ModelSpec, resources: Resources) -> None:
    with retrain_lock(resources.engine, "parcels"):
        with pytest.raises(RetrainRunningError, match="expected no other retrain to be under way"):
            train(spec, "run", resources)
        with retrain_lock(resources.engine, "letters"):
            pass
    assert train(spec, "run", resources).version == 1


def test_the_lock_ends_with_its_process_and_its_loss_ends_nothing(resources: Resources) -> None:
    with retrain_lock(resources.engine, "parcels"):
        change(
            resources,
            "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND pid <> pg_backend_pid()"
            " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
        )
        with retrain_lock(resources.engine, "parcels", wait=10):
            pass


def change(resources: Resources, statement: str) -> None:
    with resources.engine.begin() as connection:
        connection.execute(text(statement))
