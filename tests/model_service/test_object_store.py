"""A champion in S3: found, checked and served as one in a folder is."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import fsspec
import pytest

from include.errors import ArtifactError
from include.inference import RowEncoder
from model_service.models import loading
from tests.model_service.conftest import SETOSA, Harness, service_on


@pytest.fixture
def in_s3(harness: Harness, bucket: str) -> Harness:
    return replace(harness, settings=harness.settings.model_copy(update={"artifacts_url": f"{bucket}/artifacts"}))


def test_a_champion_in_s3_gives_the_same_scores_as_one_in_a_folder(harness: Harness, in_s3: Harness) -> None:
    harness.declare("iris")
    in_folder = harness.register("iris")
    in_s3.runs = harness.runs  # a run registers once
    away = in_s3.register("iris")
    scorers = [loading.load_version(harness.store, in_folder), loading.load_version(in_s3.store, away)]
    matrix = RowEncoder(scorers[0].signature).encode([SETOSA, SETOSA | {"petal_length": 5.1}])
    assert scorers[0].score(matrix).tobytes() == scorers[1].score(matrix).tobytes()

    in_s3.promote("iris", away.version)
    service = service_on(in_s3)
    service.watcher.poll_once()
    answer = service.predict("iris", SETOSA).get_json()
    assert answer["version"] == away.version
    assert list(answer["prediction"]["probabilities"].values()) == scorers[0].score(matrix[:1])[0].tolist()


def test_tampered_bytes_in_s3_are_refused_before_anything_parses_them(
    in_s3: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_s3.declare("iris")
    champion = in_s3.champion("iris")
    parsed: list[Any] = []
    monkeypatch.setattr(loading, "load_scorer", parsed.append)
    objects = fsspec.filesystem("s3", use_listings_cache=False)
    where = in_s3.store.locate("iris", 1, "model.onnx", artifact_digest=champion.artifact_digest)
    objects.pipe_file(where, objects.cat_file(where)[:-1] + b"\x00\x01")
    with pytest.raises(ArtifactError, match=r"model\.onnx: expected SHA-256"):
        loading.load_version(in_s3.store, champion)
    service = service_on(in_s3)
    service.watcher.poll_once()
    assert service.client.get("/ready").status_code == 503
    assert parsed == []
