"""``evidence.json``: an exact round trip, by a schema that is published."""

from __future__ import annotations

import json

import pytest
from jsonschema import Draft202012Validator

from include.errors import ArtifactError
from include.evidence import read_pack, schema
from include.settings import REPOSITORY
from tests.evidence.packs import CLASSES, pack_of

PUBLISHED = REPOSITORY / "docs" / "reference" / "evidence.schema.json"


def test_the_published_schema_is_that_of_the_code() -> None:
    assert PUBLISHED.read_text(encoding="utf-8") == schema(), f"write include.evidence.schema() to {PUBLISHED}"


@pytest.mark.parametrize("task", CLASSES)
@pytest.mark.parametrize("bare", [False, True])
def test_a_pack_survives_its_file_and_keeps_to_the_published_schema(task: str, bare: bool) -> None:
    pack = pack_of(task, bare=bare)
    assert read_pack(pack.to_json()) == pack
    Draft202012Validator(json.loads(PUBLISHED.read_text())).validate(json.loads(pack.to_json()))


def test_a_pack_that_is_not_by_the_schema_is_refused_with_the_field() -> None:
    plain = json.loads(pack_of().to_json())
    with pytest.raises(ArtifactError, match=r"evidence\.json: data_digest"):
        read_pack(json.dumps(plain | {"data_digest": "short"}).encode())
    with pytest.raises(ArtifactError, match=r"evidence\.json: schema_version"):
        read_pack(json.dumps(plain | {"schema_version": 2}).encode())
    with pytest.raises(ArtifactError, match=r"evidence\.json: whole file"):
        read_pack(b"no JSON")
