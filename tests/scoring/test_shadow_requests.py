"""The shadow on online requests: the real service writes the sample, a challenger answers it again, each row once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import text

from include import pipeline
from include.errors import ChallengerIncompatibleError, ShadowBoundsError
from include.inference import RowEncoder, Scorer, compute_divergence, load_scorer
from include.ports import any_free_port
from include.records import Period
from include.registry import read_divergences
from include.resources import Resources
from include.scoring.sample import MIN_ROWS
from include.spec import ModelSpec, Shadow
from tests.builders import QUERY, TODAY, declare_model
from tests.scoring.conftest import train_version

NAMES = ("weight", "distance", "carrier", "fragile")
Row = dict[str, Any]


@pytest.fixture
def rows(rivals: ModelSpec, resources: Resources) -> list[Row]:
    """What clients ask: rows of the source, with features missing in some."""
    query = text(f"SELECT {', '.join(NAMES)} FROM source.parcels ORDER BY parcel_id LIMIT 400")
    with resources.engine.connect() as connection:
        return [dict(each) for each in connection.execute(query).mappings()]


def scorer_of(version: int, resources: Resources) -> Scorer:
    registered = resources.ledger.version("parcels", version)
    return load_scorer(resources.artifacts.open("parcels", version, registered.artifact_digest))


def log(resources: Resources, rows: list[Row], *, version: int = 1, request: str = "r") -> None:
    """Log rows as the service does: by its function, with the answers that the version gives."""
    scorer = scorer_of(version, resources)
    answers = scorer.score(RowEncoder(scorer.signature).encode(rows)).tolist()
    entries = [
        {
            "predicted_at": resources.clock().isoformat(), "model": "parcels", "version": version,
            "request_id": request,
            "position": position, "inputs": list(row.values()) if position % 2 else row,
            "outputs": {"probabilities": dict(zip(scorer.signature.classes, answer, strict=True))},
        }
        for position, (row, answer) in enumerate(zip(rows, answers, strict=True))
    ]  # fmt: skip
    with resources.engine.begin() as connection:
        connection.execute(
            text("SELECT sluice.log_predictions(CAST(:entries AS jsonb), '30 days')"), {"entries": json.dumps(entries)}
        )


def count(resources: Resources, table: str) -> int:
    with resources.engine.connect() as connection:
        return connection.execute(text(f"SELECT count(*) FROM sluice.{table}")).scalar_one()


# -- with the service --------------------------------------------------------------------------------


@pytest.fixture
def ask(rivals: ModelSpec, resources: Resources, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """The real service as a process of its own, which samples every request; asks it."""
    port, output = any_free_port(), tmp_path / "service.log"
    environment = os.environ | {
        "SLUICE_HOME": str(resources.settings.home),
        "SLUICE_MODELS_DIR": str(resources.settings.home / "models"),
        "SLUICE_DATABASE_URL": str(resources.settings.database_url),
        "SLUICE_SERVICE_PORT": str(port),
        "SLUICE_SERVICE_WORKERS": "1",
        "SLUICE_SERVICE_SAMPLE_RATE": "1",
    }

    def call(method: str, path: str, body: Any = None) -> tuple[int, Any]:
        connection = HTTPConnection("127.0.0.1", port, timeout=10)
        try:
            connection.request(method, path, None if body is None else json.dumps(body))
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()

    def ready() -> bool:
        try:
            return call("GET", "/ready")[0] == 200
        except OSError:
            return False

    with output.open("wb") as file:
        process = subprocess.Popen([sys.executable, "-m", "model_service"], env=environment, stdout=file, stderr=file)
    try:
        wait_until(lambda: ready() or process.poll() is not None)
        assert process.poll() is None, output.read_text()
        yield call
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=30)


def wait_until(condition: Callable[[], bool], seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.05)


def test_what_the_service_sampled_is_answered_by_the_challenger_and_counts_once(
    rivals: ModelSpec, resources: Resources, rows: list[Row], ask: Callable[..., Any]
) -> None:
    pipeline.set_challenger("parcels", 2, "ann", resources)
    assert pipeline.shadow_requests(rivals, "first", resources) is None, "nobody has asked yet"
    by_name, in_order = rows[:90], [list(row.values()) for row in rows[90:150]]
    got: list[list[float]] = []
    for features in (by_name, in_order):
        status, answer = ask("POST", "/v1/models/parcels/predict", {"features": features})
        assert status == 200, answer
        got += [[each["probabilities"][label] for label in ("on_time", "late")] for each in answer["predictions"]]
    assert ask("POST", "/v1/models/parcels/predict", {"features": [[-1, 1, "ant", True]]})[0] == 422
    wait_until(lambda: count(resources, "prediction_log") == 150)

    found = pipeline.shadow_requests(rivals, "run", resources)
    challenger = scorer_of(2, resources)
    theirs = challenger.score(RowEncoder(challenger.signature).encode(rows[:150]))
    expected = compute_divergence(np.array(got), theirs, flipped=np.argmax(got, axis=1) != theirs.argmax(axis=1))
    assert found is not None
    assert (found.version, found.champion_version, found.source) == (2, 1, "online")
    assert (found.row_count, found.refused_rows, found.partition_start) == (150, 0, None)
    assert {name: getattr(found, name) for name in expected.to_plain()} == expected.to_plain()
    assert 0 < found.rank_correlation < 1
    assert found.sampled_from <= found.sampled_to <= resources.clock()
    assert pipeline.shadow_requests(rivals, "again", resources) is None
    assert (count(resources, "shadow_divergence"), count(resources, "shadow_sample")) == (1, 150)


# -- by the log ---------------------------------------------------------------------------------------


def test_too_few_rows_wait_for_more_and_late_ones_are_not_lost(
    rivals: ModelSpec, resources: Resources, rows: list[Row]
) -> None:
    pipeline.set_challenger("parcels", 2, "ann", resources)
    log(resources, rows[: MIN_ROWS - 1])
    assert pipeline.shadow_requests(rivals, "run", resources) is None
    log(resources, rows[:1], request="one more")
    assert pipeline.shadow_requests(rivals, "run", resources).row_count == MIN_ROWS
    log(resources, rows[:MIN_ROWS], request="written late")
    with resources.engine.begin() as connection:
        connection.execute(
            text(
                "UPDATE sluice.prediction_log SET predicted_at = predicted_at - :late WHERE request_id = 'written late'"
            ),
            {"late": timedelta(hours=5)},
        )
    assert pipeline.shadow_requests(rivals, "run", resources).row_count == MIN_ROWS


def test_two_who_look_at_once_count_each_row_once(rivals: ModelSpec, resources: Resources, rows: list[Row]) -> None:
    pipeline.set_challenger("parcels", 2, "ann", resources)
    log(resources, rows[:300])
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda run: pipeline.shadow_requests(rivals, run, resources), "abcd"))
    assert [each.row_count for each in found if each is not None] == [300]
    assert (count(resources, "shadow_divergence"), count(resources, "shadow_sample")) == (1, 300)


def test_another_challenger_is_measured_on_the_same_rows_and_the_log_may_forget(
    rivals: ModelSpec, resources: Resources, rows: list[Row]
) -> None:
    train_version(rivals, "three", resources)
    log(resources, rows[:MIN_ROWS])
    log(resources, rows[:MIN_ROWS], version=2, request="asked of another version")
    for version in (2, 3):
        pipeline.set_challenger("parcels", version, "ann", resources)
        found = pipeline.shadow_requests(rivals, "run", resources)
        assert (found.version, found.champion_version, found.row_count) == (version, 1, MIN_ROWS)
    pipeline.set_challenger("parcels", 1, "ann", resources)
    assert pipeline.shadow_requests(rivals, "run", resources) is None, "the champion is no challenger"
    with resources.engine.begin() as connection:
        connection.execute(text("UPDATE sluice.prediction_log SET predicted_at = predicted_at - interval '99 days'"))
    log(resources, [])
    assert (count(resources, "prediction_log"), count(resources, "shadow_sample")) == (0, 0)


def test_rows_that_the_challenger_refuses_are_counted_and_refuse_its_promotion(
    rivals: ModelSpec, resources: Resources, rows: list[Row]
) -> None:
    light = rivals.features[0].model_copy(update={"maximum": 20.0})
    with resources.engine.begin() as connection:
        connection.execute(text("DELETE FROM source.parcels WHERE weight > 20"))
    train_version(rivals.model_copy(update={"features": (light, *rivals.features[1:])}), "light", resources)
    pipeline.set_challenger("parcels", 3, "ann", resources)
    log(resources, rows[:200])
    found = pipeline.shadow_requests(rivals, "run", resources)
    heavy = sum(row["weight"] > 20 for row in rows[:200])
    assert heavy > 0
    assert (found.row_count, found.refused_rows) == (200 - heavy, heavy)
    bounded = rivals.model_copy(update={"shadow": Shadow(max_label_flips=1.0)})
    with pytest.raises(ShadowBoundsError, match=f"it refuses {heavy} rows that the champion answered"):
        pipeline.check_shadow_bounds(bounded, 3, resources)
    log(resources, [row for row in rows if row["weight"] > 20][:MIN_ROWS], request="heavy")
    with pytest.raises(ChallengerIncompatibleError, match=f"it rejects all {MIN_ROWS} rows"):
        pipeline.shadow_requests(rivals, "run", resources)
    assert count(resources, "shadow_divergence") == 1


def test_a_challenger_may_need_less_than_the_champion_is_asked_and_not_more(
    rivals: ModelSpec, resources: Resources, rows: list[Row]
) -> None:
    declared = declare_model(resources.settings.home / "models", query=QUERY.replace("fragile, ", ""))
    fewer = declared.model_copy(update={"features": rivals.features[:3]})
    train_version(fewer, "fewer", resources)
    pipeline.set_challenger("parcels", 3, "ann", resources)
    log(resources, rows[:MIN_ROWS])
    assert pipeline.shadow_requests(rivals, "run", resources).row_count == MIN_ROWS
    pipeline.move_champion("parcels", 3, "ann", "it needs less", resources)
    pipeline.set_challenger("parcels", 1, "ann", resources)
    with pytest.raises(
        ChallengerIncompatibleError, match="it needs fragile, which requests to champion 3 do not contain"
    ):
        pipeline.shadow_requests(rivals, "run", resources)


def test_the_newest_of_each_source_is_held_to_the_bounds(
    rivals: ModelSpec, resources: Resources, rows: list[Row]
) -> None:
    pipeline.set_challenger("parcels", 2, "ann", resources)
    day = Period(start=TODAY.replace(hour=0) - timedelta(days=2), end=TODAY.replace(hour=0) - timedelta(days=1))
    published = pipeline.score(rivals, "score", day, resources)
    batch = pipeline.shadow_partition(rivals, published, "score", resources)
    log(resources, rows[:200])
    online = pipeline.shadow_requests(rivals, "run", resources)
    assert read_divergences(resources.engine, "parcels", 2) == (batch, online)
    assert batch.rank_correlation != online.rank_correlation
    strict = rivals.model_copy(update={"shadow": Shadow(min_rank_correlation=1.0)})
    with pytest.raises(ShadowBoundsError) as error:
        pipeline.check_shadow_bounds(strict, 2, resources)
    assert [each.split(": rank correlation")[0] for each in error.value.reasons] == [
        f"on {batch.rows_of}", f"on {online.rows_of}"
    ]  # fmt: skip
    lower, higher = sorted((batch.rank_correlation, online.rank_correlation))
    between = rivals.model_copy(update={"shadow": Shadow(min_rank_correlation=(lower + higher) / 2)})
    with pytest.raises(ShadowBoundsError) as error:
        pipeline.check_shadow_bounds(between, 2, resources)
    assert len(error.value.reasons) == 1
