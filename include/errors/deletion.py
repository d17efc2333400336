"""Errors of the deletion of models, and of the use of a version after it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from include.errors.base import SluiceError

DELETED_VERSION: Final = "SL004"
"""The SQLSTATE with which the database refuses a version of a deleted model; see the migrations."""


class ModelDeclaredError(SluiceError):
    """A model is still declared, so it is not deleted."""

    def __init__(self, model: str, folder: Path) -> None:
        super().__init__(
            f"model '{model}' is still declared: expected no folder {folder}; found it with a spec.py. Nothing was "
            "deleted. Remove the folder, from git too, and wait until no run of the model is left; then run "
            f"`sluice delete {model}` again."
        )


class ModelInUseError(SluiceError):
    """Objects that Sluice did not make depend on the tables of a model, so it is not deleted."""

    def __init__(self, model: str, dependents: Sequence[str]) -> None:
        super().__init__(
            f"model '{model}': expected that nothing else depends on its tables; found {len(dependents)}: "
            f"{'; '.join(dependents)}. Nothing was deleted. Ask their owners to drop or change them, then run "
            f"`sluice delete {model}` again."
        )
        self.dependents = tuple(dependents)


class NothingToDeleteError(SluiceError):
    """No model of this name was ever registered or scored."""

    def __init__(self, model: str, hint: str) -> None:
        super().__init__(
            f"there is no model '{model}' in the ledger, in schema scores or among the artifacts: nothing to delete. "
            f"{hint or '`sluice status` lists the declared models.'}"
        )


class ModelAliveError(SluiceError):
    """A model that was deleted has new versions, so its files are not removed."""

    def __init__(self, model: str, version: int) -> None:
        super().__init__(
            f"model '{model}': expected no version since its deletion; found version {version}, which was registered "
            "meanwhile. Its tables and records are deleted, but no file was removed. To keep the new version, leave "
            f"the files; to delete it, too, run `sluice delete {model}` again."
        )
