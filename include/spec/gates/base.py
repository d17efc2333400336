"""The base class of every gate. A class that derives from it registers its kind."""

from __future__ import annotations

from abc import abstractmethod
from typing import Annotated, Any, ClassVar

from pydantic import Field

from include.spec.base import SpecModel

Share = Annotated[float, Field(ge=0, le=1)]
Alpha = Annotated[float, Field(gt=0, lt=0.5)]


class Gate(SpecModel):
    """One requirement on a candidate.

    A subclass declares its `kind`, its name in decisions and evidence. The function that evaluates it is registered in
    `include.evaluation.gates`.
    """

    kinds: ClassVar[dict[str, type[Gate]]] = {}
    kind: str

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        """Register the class under its kind."""
        super().__pydantic_init_subclass__(**kwargs)
        kind = cls.model_fields["kind"].default
        if Gate.kinds.setdefault(kind, cls) is not cls:
            raise TypeError(f"the kind '{kind}' of gate {cls.__name__} is taken by {Gate.kinds[kind].__name__}")

    @property
    def name(self) -> str:
        """The kind, and the metric if it has one: what tells the gates of a policy apart."""
        metric = getattr(self, "metric", None)
        return self.kind if metric is None else f"{self.kind}:{metric}"

    @property
    @abstractmethod
    def requirement(self) -> str:
        """What the gate requires, as a phrase."""
