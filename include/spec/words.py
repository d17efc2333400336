"""What all words of a declaration share."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, StringConstraints

Identifier = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,40}$")]
ClassLabel = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_]{1,40}$")]
Task = Literal["binary", "multiclass", "regression"]


class Word(BaseModel):
    """The parent of every word: frozen, and strict about names it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
