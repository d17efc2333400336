"""``evidence.json``: everything that a version was decided on, in one record with a published JSON Schema.

To change the meaning of a field, increase `SCHEMA_VERSION` and keep reading the older versions. A new field needs a
default.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, Field, ValidationError

from include.errors import ArtifactError
from include.records import (
    CardData,
    Decision,
    Evaluation,
    ParityReport,
    Record,
    Rehearsal,
    Reproducibility,
    SnapshotRef,
)
from include.spec import Feature, ModelSpec, Task

SCHEMA_VERSION: Literal[1] = 1
Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class ModelDeclaration(Record):
    """The model's declaration.

    Parameters
    ----------
    values : dict, optional
        Every declared value, the defaults included, see `ModelSpec.to_plain`. None in a version that was registered
        before they were kept.
    code : str, optional
        The text of ``spec.py``, to be read and compared, never run. None as for `values`.
    """

    model: str
    task: Task
    description: str
    owner: str
    source: str
    target: str
    classes: tuple[str, ...]
    features: tuple[Feature, ...]
    gates: tuple[dict[str, Any], ...]
    seed: int
    parity_tolerance: float
    values: dict[str, Any] | None = None
    code: str | None = None

    @classmethod
    def of(cls, spec: ModelSpec, gates: tuple[dict[str, Any], ...]) -> ModelDeclaration:
        """Return the declaration of `spec`, with `gates` as plain values."""
        return cls(
            model=spec.name,
            task=spec.task,
            description=spec.description,
            owner=spec.owner,
            source=spec.source,
            target=spec.target.column,
            classes=spec.target.classes,
            features=spec.features,
            gates=gates,
            seed=spec.seed,
            parity_tolerance=spec.parity_tolerance,
            values=spec.to_plain(),
            code=spec.code,
        )


class EvidencePack(Record):
    """Everything that a version was decided on.

    Parameters
    ----------
    declaration : ModelDeclaration
    snapshot : SnapshotRef
        The rows of training and evaluation, and their split by time.
    evaluation, decision, parity
        The results, and the decision.
    rehearsal, reproducibility : optional
        None when the declaration does not require them.
    card : CardData, optional
        Curves, histograms and importances; None when none were made.
    files : dict of str to str
        SHA-256 of each other file of the artifact, except the card, which is made from this pack.
    libraries : dict of str to str
        Versions of the libraries that it was made with.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    version: int = Field(ge=1)
    run_id: str
    declaration: ModelDeclaration
    snapshot: SnapshotRef
    fit_seconds: float
    evaluation: Evaluation
    decision: Decision
    parity: ParityReport
    rehearsal: Rehearsal | None = None
    reproducibility: Reproducibility | None = None
    card: CardData | None = None
    files: dict[str, Digest]
    spec_digest: Digest
    data_digest: Digest
    code_digest: Digest
    libraries: dict[str, str]
    created_at: AwareDatetime

    def to_json(self) -> bytes:
        """Return the content of ``evidence.json``."""
        return self.model_dump_json(indent=1).encode() + b"\n"


def read_pack(content: bytes) -> EvidencePack:
    """Parse the content of an ``evidence.json``.

    Raises
    ------
    ArtifactError
        When a field does not match the schema; the message names the first one.
    """
    try:
        return EvidencePack.model_validate_json(content)
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(str(part) for part in fault["loc"]) or "whole file"
        raise ArtifactError(
            f"evidence.json: {where}: {fault['msg']}. Read it with the version of Sluice that wrote it, "
            "or with a newer one."
        ) from error


def schema() -> str:
    """Return the JSON Schema of ``evidence.json``, as it is published in docs/reference/evidence.schema.json."""
    return json.dumps(EvidencePack.model_json_schema(mode="serialization"), indent=1) + "\n"
