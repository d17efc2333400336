"""What an artifact takes and what it answers: ``signature.json``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError, model_validator

from include.errors import ArtifactError
from include.inference.feature_types import feature_type
from include.records import Record
from include.spec import EntityKey, Feature, FeatureQuery, Target, Task

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
    decision_threshold : float or None
        The probability of the second class from which a row gets that class. None: a row gets its most probable
        class, the first of several.
    target : str or None
        The column of the label in the version's ``features.sql``, if it is known.
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
    decision_threshold: Annotated[float, Field(ge=0, le=1)] | None = None
    target: str | None = None
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
        if self.decision_threshold is not None and self.task != "binary":
            raise ValueError(f"a {self.task} signature cannot have a decision_threshold")
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """The features' names, in the order of the matrix's columns."""
        return tuple(feature.name for feature in self.features)

    @property
    def outputs(self) -> int:
        """How many score columns there are: one a class, or one for a regression."""
        return len(self.classes) or 1

    def labels(self, scores: NDArray[np.float64]) -> NDArray[np.intp]:
        """Return the position of each row's class, from scores of shape (n, n_classes)."""
        if self.decision_threshold is None:
            return np.asarray(scores.argmax(axis=1), dtype=np.intp)
        return np.asarray(scores[:, 1] >= self.decision_threshold, dtype=np.intp)

    def label(self, row: Sequence[float]) -> int:
        """Return the position of one row's class, as `labels` does for many."""
        if self.decision_threshold is None:
            return row.index(max(row))  # of so few values a fifth of NumPy's time
        return int(row[1] >= self.decision_threshold)

    def query(self, text: str) -> FeatureQuery:
        """Return the version's query; `text` is that of its ``features.sql``."""
        target = None if self.target is None else Target(column=self.target, classes=self.classes)
        return FeatureQuery(self.model, text, self.entity_key, self.event_time, self.features, target)

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
