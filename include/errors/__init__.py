"""Every error that a user can meet.

Each message names the thing, says what was expected and what was found, and ends with the next
step. Callers catch the type; people read the message; nobody parses it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from include.errors.approval import (
    ApprovalRequiredError,
    ApprovalTimedOutError,
    ApprovalVoidError,
    ApproverNotAllowedError,
)
from include.errors.base import NoChampionError, SluiceError
from include.errors.scoring import (
    FencedError,
    NoChampionAtTimeError,
    ParityMismatchError,
    ParityNotCheckedError,
    PartitionInUseError,
    PartitionOverlapError,
    ScoreBoundsError,
    ServiceClientError,
)
from include.errors.shadow import ChallengerIncompatibleError, ShadowBoundsError

__all__ = [
    "ApprovalRequiredError",
    "ApprovalTimedOutError",
    "ApprovalVoidError",
    "ApproverNotAllowedError",
    "ArtifactError",
    "ArtifactStoreError",
    "CandidateRejectedError",
    "ChallengerIncompatibleError",
    "ConversionError",
    "DatabaseError",
    "FencedError",
    "NoChampionAtTimeError",
    "NoChampionError",
    "NotEnoughDataError",
    "ParityMismatchError",
    "ParityNotCheckedError",
    "PartitionInUseError",
    "PartitionOverlapError",
    "PrecisionError",
    "PromotionConflictError",
    "ReconciliationError",
    "RowsRejectedError",
    "ScoreBoundsError",
    "ServiceClientError",
    "SettingsError",
    "ShadowBoundsError",
    "SignatureError",
    "SluiceError",
    "SpecError",
    "TrainingBackendError",
    "TrainingBudgetError",
    "UnknownModelError",
    "UnknownPromotionError",
    "UnknownVersionError",
    "ValidationFailedError",
]


class SettingsError(SluiceError):
    """An environment variable holds a value that Sluice cannot work with."""


class SpecError(SluiceError):
    """A model is declared wrongly.

    Parameters
    ----------
    file : Path
        The file at fault.
    field : str
        Dotted path of the field in the declaration, such as ``features.2.minimum``.
    expected : str
        What the field should have held.
    found : str
        What it held.
    """

    def __init__(self, file: Path, field: str, expected: str, found: str) -> None:
        super().__init__(
            f"{file}: field '{field}': expected {expected}; found {found}. "
            "Correct the file and save it: Airflow reads it again by itself."
        )
        self.file, self.field, self.expected, self.found = file, field, expected, found


class UnknownModelError(SluiceError):
    """A model was named that no folder declares."""

    def __init__(self, name: str, declared: Sequence[str]) -> None:
        known = ", ".join(declared) or "none"
        super().__init__(f"no model is named '{name}'; declared are: {known}. `sluice new {name}` writes a skeleton.")
        self.name, self.declared = name, tuple(declared)


class UnknownVersionError(SluiceError):
    """A version was named that the ledger does not hold."""

    def __init__(self, model: str, version: int | str, existing: Sequence[int]) -> None:
        known = ", ".join(str(each) for each in existing) or "none yet: run `sluice train " + model + "`"
        super().__init__(f"model '{model}' has no version {version}; those that exist: {known}.")
        self.model, self.version, self.existing = model, version, tuple(existing)


class UnknownPromotionError(SluiceError):
    """A promotion was named that the ledger does not hold."""

    def __init__(self, model: str, sequence: int, existing: Sequence[int]) -> None:
        known = ", ".join(str(each) for each in existing) or "none yet"
        super().__init__(
            f"model '{model}' has no promotion with sequence number {sequence}; those that exist: {known}. "
            f"`sluice history {model}` lists them."
        )


class PromotionConflictError(SluiceError):
    """Somebody else moved the champion between our reading it and our moving it."""

    def __init__(self, model: str, sequence: int, winner_version: int, winner_actor: str) -> None:
        super().__init__(
            f"promotion of '{model}' lost the race for sequence number {sequence}: "
            f"'{winner_actor}' promoted version {winner_version} first. "
            f"Look at `sluice history {model}`; promote again if your version should still win."
        )
        self.model, self.sequence = model, sequence
        self.winner_version, self.winner_actor = winner_version, winner_actor


class ValidationFailedError(SluiceError):
    """The data broke the model's contract, so the run stopped before using them."""

    def __init__(self, model: str, period: str, reasons: Sequence[str], docs: str | None) -> None:
        listed = "; ".join(reason.rstrip(".") for reason in reasons)
        where = f" Data Docs: {docs}." if docs else ""
        super().__init__(
            f"the data of '{model}' for {period} broke {len(reasons)} rule(s) of its contract: {listed}. "
            f"The champion and the published scores are untouched.{where} "
            "Mend the source, or the contract in spec.py, and run again; "
            "the counts and keys are in sluice.validation_result."
        )
        self.model, self.period, self.reasons, self.docs = model, period, tuple(reasons), docs


class CandidateRejectedError(SluiceError):
    """A gate said no, so the candidate may not be promoted by the pipeline."""

    def __init__(self, model: str, version: int, reasons: Sequence[str]) -> None:
        super().__init__(
            f"version {version} of '{model}' is registered but not promoted: {'; '.join(reasons)}. "
            f"The champion stays. A person may still promote it: `sluice promote {model} {version} --reason ...`."
        )
        self.model, self.version, self.reasons = model, version, tuple(reasons)


class NotEnoughDataError(SluiceError):
    """A split holds too little to train or to judge a model with."""


class TrainingBudgetError(SluiceError):
    """A training would take more memory than it may, so it was not begun."""

    def __init__(self, model: str, rows: int, features: int, wanted_mib: int, budget_mib: int) -> None:
        super().__init__(
            f"model '{model}': expected a training that fits SLUICE_TRAIN_MEMORY_MIB={budget_mib}; found "
            f"{rows:,} rows of {features} features, which take about {wanted_mib:,} MiB. Nothing was trained, the "
            f"champion stays. Set SLUICE_TRAIN_MEMORY_MIB to {wanted_mib} or more where the machine has it, or shorten "
            "`window` in spec.py, or sample in features.sql."
        )
        self.model, self.wanted_mib, self.budget_mib = model, wanted_mib, budget_mib


class TrainingBackendError(SluiceError):
    """The backend that SLUICE_TRAIN_BACKEND names cannot be used."""

    def __init__(self, backend: str, found: str, advice: str) -> None:
        super().__init__(
            f"SLUICE_TRAIN_BACKEND={backend}: expected joblib's backend of that name to be usable; found that {found}. "
            f"{advice} Or unset it: then the training runs in its task alone."
        )
        self.backend = backend


class ConversionError(SluiceError):
    """An estimator, or a step of it, does not convert to ONNX faithfully."""

    def __init__(self, model: str, step: str, reason: str, advice: str) -> None:
        super().__init__(f"model '{model}': step {step} cannot be served: {reason}. {advice}")
        self.model, self.step, self.reason = model, step, reason


class PrecisionError(SluiceError):
    """A feature holds values that single precision, the precision of serving, cannot tell apart."""


class ArtifactError(SluiceError):
    """A file of an artifact is missing, added, or not what the ledger and the manifest say it is."""


class SignatureError(ArtifactError):
    """What should be signed by a trusted key is not: the signature is missing, by another key, or of other bytes."""


class ArtifactStoreError(SluiceError):
    """The object store that artifacts are kept in does not answer, or refuses to; it may do so later."""


class ReconciliationError(SluiceError):
    """The rows that were read, scored and staged are not the same rows, so nothing was published."""


class RowsRejectedError(SluiceError):
    """Rows given to a model are not what its signature allows.

    Parameters
    ----------
    faults : sequence of FieldError
        Each names the JSON path, what was expected and what came; at most 20 are kept.
    """

    def __init__(self, faults: Sequence[object]) -> None:
        super().__init__("; ".join(str(fault) for fault in faults))
        self.faults = tuple(faults)


class DatabaseError(SluiceError):
    """The database cannot be started or reached."""
