"""The same number twice: a real service is asked about a sample, and a number that differs is told or stops all."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from include import pipeline
from include.errors import ParityMismatchError, ParityNotCheckedError
from include.ports import any_free_port
from include.records import Period, PublishedPartition
from include.resources import Resources
from include.scoring.online_parity import distance, ulps
from include.settings import REPOSITORY, child_environment
from include.spec import ModelSpec
from tests.builders import QUERY, SPEC, TODAY, declare_model, load_parcels

DAY = Period.of_day(date(2026, 2, 20))
NUMBERS = st.floats(width=32, allow_nan=False, allow_infinity=False)


@given(left=NUMBERS, right=NUMBERS)
def test_ulps_count_the_numbers_between_two_and_are_symmetric(left: float, right: float) -> None:
    def apart(one: float, other: float) -> int:
        return int(ulps(np.array([one]), np.array([other]))[0])

    assert apart(left, right) == apart(right, left)
    assert (apart(left, right) == 0) == (left == right)
    following = float(np.nextafter(np.float32(left), np.float32(np.inf)))
    if np.isfinite(following) and left != following:
        assert apart(left, following) == 1


def test_a_number_beyond_single_precision_is_no_equal_of_its_rounding() -> None:
    third = 1 / 3
    assert ulps(np.array([third]), np.array([float(np.float32(third))])).tolist() == [1]


def test_the_worst_row_is_named_and_all_that_differ_are_counted() -> None:
    near = float(np.nextafter(np.float32(0.5), np.float32(1)))
    far = float(np.nextafter(np.float32(near), np.float32(1)))
    found = distance(
        {"a": (0.5, 0.5), "b": (0.5, 0.5), "c": (0.5, 0.5)}, {"a": (0.5, 0.5), "b": (near, 0.5), "c": (0.5, far)}
    )
    assert (found.differing, found.largest_ulp, found.worst) == (2, 2, "c")


@pytest.fixture
def spec(resources: Resources) -> ModelSpec:
    load_parcels(resources.engine)
    return declare_model(resources.settings.models_dir)


@pytest.fixture
def resources(resources: Resources, tmp_path: Path) -> Resources:
    """The usual ones, with a folder of models of their own and a port at which no service is yet."""
    port = any_free_port()
    changes = {"models_dir": tmp_path / "models", "service_port": port, "default_model": "parcels"}
    return replace(resources, settings=resources.settings.model_copy(update=changes))


@contextmanager
def running_service(resources: Resources) -> Iterator[None]:
    settings = resources.settings
    environment = child_environment(
        {
            "SLUICE_HOME": str(settings.home),
            "SLUICE_MODELS_DIR": str(settings.models_dir),
            "SLUICE_DATABASE_URL": resources.database_url,
            "SLUICE_SERVICE_PORT": str(settings.service_port),
            "SLUICE_SERVICE_WORKERS": "1",
        },
        without=("SLUICE_",),
    )
    with subprocess.Popen([sys.executable, "-m", "model_service"], cwd=REPOSITORY, env=environment) as process:
        try:
            deadline = time.monotonic() + 120
            while True:
                try:
                    httpx.get(f"http://127.0.0.1:{settings.service_port}/health", trust_env=False, timeout=5)
                    break
                except httpx.HTTPError:
                    assert process.poll() is None
                    assert time.monotonic() < deadline
                    time.sleep(0.1)
            yield
        finally:
            process.terminate()


@pytest.fixture
def trained(spec: ModelSpec, resources: Resources) -> Callable[..., ModelSpec]:
    """Registers a version of the model and returns its declaration, with another scoring if asked for."""
    assert pipeline.retrain(spec, "train", TODAY, resources, actor="tests", rehearsal=None).promotion is not None

    def declared(**scoring: Any) -> ModelSpec:
        return spec.model_copy(update={"scoring": spec.scoring.model_copy(update=scoring)})

    return declared


def score(spec: ModelSpec, run_id: str, resources: Resources) -> PublishedPartition:
    return pipeline.score(spec, run_id, DAY, resources)


def checks(resources: Resources) -> list[tuple[Any, ...]]:
    query = text("SELECT verdict, row_count, differing, published FROM sluice.parity_check ORDER BY id")
    with resources.engine.connect() as connection:
        return [tuple(row) for row in connection.execute(query)]


def falsify(resources: Resources) -> None:
    """Move one published score by the least that single precision knows."""
    with resources.engine.begin() as connection:
        key, score = connection.execute(
            text("SELECT entity_key, p_late FROM scores.parcels ORDER BY p_late DESC LIMIT 1")
        ).one()
        off = float(np.nextafter(np.float32(score), np.float32(0)))
        connection.execute(
            text("UPDATE scores.parcels SET p_late = :off WHERE entity_key = :key"), {"off": off, "key": key}
        )


@pytest.mark.slow
def test_a_published_partition_is_what_the_service_answers_and_a_false_bit_is_found(
    trained: Callable[..., ModelSpec], resources: Resources
) -> None:
    spec = trained()
    published = score(spec, "run", resources)
    with running_service(resources):
        check = pipeline.check_online_parity(spec, published, resources)
        assert (check.verdict, check.rows, check.differing, check.largest_ulp) == ("equal", 40, 0, 0)
        falsify(resources)
        with pytest.raises(
            ParityMismatchError, match=r"found 1 that differ: the row of key 'parcel-\d+' is 1 ulp apart"
        ):
            pipeline.check_online_parity(spec, published, resources)
        within = trained(parity_ulp=1, parity_rows=40)
        assert pipeline.check_online_parity(within, published, resources).differing == 1, (
            "and is within what was declared"
        )
    assert checks(resources) == [("equal", 40, 0, True), ("differs", 40, 1, True), ("equal", 40, 1, True)]


@pytest.mark.slow
def test_batch_and_service_agree_by_name_when_the_declaration_has_other_names_and_another_order(
    trained: Callable[..., ModelSpec], resources: Resources
) -> None:
    trained()
    changed = SPEC.replace('("on_time", "late")', '("late", "on_time")').replace('name="weight"', 'name="mass"')
    spec = declare_model(resources.settings.models_dir, spec=changed, query=QUERY.replace("weight", "weight AS mass"))
    published = score(spec, "run", resources)
    with resources.engine.connect() as connection:
        query = "SELECT entity_key, p_on_time, p_late, predicted_label FROM scores.parcels ORDER BY p_late DESC LIMIT 1"
        key, on_time, late, label = connection.execute(text(query)).one()
        query = "SELECT weight, distance, carrier, fragile FROM source.parcels WHERE parcel_id = :key"
        row = dict(connection.execute(text(query), {"key": key}).mappings().one())
    with running_service(resources):
        assert pipeline.check_online_parity(spec, published, resources).verdict == "equal"
        address = f"http://127.0.0.1:{resources.settings.service_port}/v1/models/parcels"
        with httpx.Client(trust_env=False, timeout=20) as client:
            looked_up = client.get(f"{address}/scores/{key}").json()["prediction"]
            predicted = client.post(f"{address}/predict", json={"features": [row]}).json()["predictions"][0]
    for answer in (looked_up, predicted):
        assert answer["probabilities"] == {"on_time": on_time, "late": late}
        assert answer["label"] == label == "late"


@pytest.mark.slow
def test_parity_that_blocks_publishes_only_what_was_checked_before(
    trained: Callable[..., ModelSpec], resources: Resources
) -> None:
    spec = trained(parity="block", parity_rows=10)
    with pytest.raises(ParityNotCheckedError, match="Nothing was published; the former rows stay"):
        score(spec, "no service", resources)
    assert resources.ledger.published_partitions("parcels") == ()
    with running_service(resources):
        assert score(spec, "a service", resources).row_count == 40
    assert checks(resources) == [("not_checked", 0, 0, False), ("equal", 10, 0, False)]


@pytest.mark.slow
def test_parity_that_blocks_stops_scores_that_the_service_would_not_give(
    trained: Callable[..., ModelSpec], resources: Resources
) -> None:
    spec = trained(parity="block")
    report = pipeline.validate_partition(spec, "run", DAY, resources)
    plan = pipeline.plan_partition(spec, report, "run", resources)
    staged = pipeline.score_shard(spec, plan, 0, resources)
    with resources.engine.begin() as connection:
        connection.execute(text(f'UPDATE staging."{staged.table}" SET p_late = p_late * 0.5'))
    with running_service(resources), pytest.raises(ParityMismatchError, match=r"Nothing was published"):
        pipeline.publish_partition(spec, plan, [staged], resources)
    assert resources.ledger.published_partitions("parcels") == ()
    assert [check[0] for check in checks(resources)] == ["differs"]


def test_a_service_that_cannot_be_asked_is_recorded_and_alerted_and_stops_nothing(
    trained: Callable[..., ModelSpec], resources: Resources
) -> None:
    spec = trained()
    published = score(spec, "run", resources)
    check = pipeline.check_online_parity(spec, published, resources)
    assert (check.verdict, check.rows) == ("not_checked", 0)
    with resources.engine.connect() as connection:
        (alert,) = connection.execute(text("SELECT model, task_id, error FROM sluice.alert")).all()
    assert (alert.model, alert.task_id) == ("parcels", "check_online_parity")
    assert "parity with the service was not checked" in alert.error
    assert "SLUICE_SERVICE_URL" in alert.error


def test_what_was_found_is_kept_for_good(trained: Callable[..., ModelSpec], resources: Resources) -> None:
    published = score(trained(), "run", resources)
    pipeline.check_online_parity(trained(), published, resources)
    with pytest.raises(Exception, match="append-only"), resources.engine.begin() as connection:
        connection.execute(text("DELETE FROM sluice.parity_check"))
