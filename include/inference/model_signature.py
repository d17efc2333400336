"""What an artifact takes and what it answers: ``signature.json``."""

from __future__ import annotations

from typing import Self

from pydantic import ValidationError, model_validator

from include.errors import ArtifactError
from include.inference.feature_types import feature_type
from include.records import Record
from include.spec import EntityKey, Feature, Task

FORMAT_VERSION = 1


class ModelSignature(Record):
    """Inputs and outputs of one artifact, fixed when it was trained.

    Parameters
    ----------
    features : tuple of Feature
        In the order of the matrix's columns. A categorical one carries the whole dictionary that was
        learned, in sorted order: a category's position is its code.
    classes : tuple of str
        Labels in the order of the score columns; empty for a regression.
    single_row_exact : bool
        Whether a batch of one gives bit for bit what the same row gives among others. Some matrix
        products take another path for one row; `Scorer` then works around it.
    """

    format_version: int = FORMAT_VERSION
    model: str
    task: Task
    entity_key: EntityKey
    event_time: str
    features: tuple[Feature, ...]
    classes: tuple[str, ...] = ()
    single_row_exact: bool = True

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.format_version != FORMAT_VERSION:
            raise ValueError(f"format_version must be {FORMAT_VERSION}; found {self.format_version}")
        for feature in self.features:
            feature_type(feature).check_learned()
        found = len(self.classes)
        if not {"binary": found == 2, "multiclass": found >= 3, "regression": found == 0}[self.task]:
            raise ValueError(f"a {self.task} signature cannot have {found} classes")
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """The features' names, in the order of the matrix's columns."""
        return tuple(feature.name for feature in self.features)

    @property
    def outputs(self) -> int:
        """How many score columns there are: one a class, or one for a regression."""
        return len(self.classes) or 1

    def to_json(self) -> str:
        """Return the text of ``signature.json``."""
        return self.model_dump_json(indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Read what `to_json` wrote.

        Raises
        ------
        ArtifactError
            If it is not a signature, or not one of this format.
        """
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            fault = error.errors()[0]
            where = ".".join(str(part) for part in fault["loc"]) or "whole file"
            raise ArtifactError(
                f"signature.json: {where}: {fault['msg']}. Train the model again to make an artifact of this format."
            ) from error
