"""Reproducibility of a training."""

from __future__ import annotations

from include.records.base import Record


class Reproducibility(Record):
    """The digests of ``model.onnx`` from two trainings on the same snapshot, by the same declaration and seed."""

    first_digest: str
    second_digest: str
    seconds: float

    @property
    def passed(self) -> bool:
        """Whether both gave the same bytes."""
        return self.first_digest == self.second_digest
