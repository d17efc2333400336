"""All errors that a user can see.

Each message names its subject, the expected and the found value, and the next step. Callers catch the type. The message
is for people; no code parses it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

from include.errors.approval import (
    ApprovalRequiredError,
    ApprovalTimedOutError,
    ApprovalVoidError,
    ApproverNotAllowedError,
)
from include.errors.base import UNUSABLE_FILE, NoChampionError, SluiceError, permanent_errors
from include.errors.database import DatabaseError, MissingGrantError, QueryError, is_transient
from include.errors.deletion import (
    DELETED_VERSION,
    ModelAliveError,
    ModelDeclaredError,
    ModelInUseError,
    NothingToDeleteError,
)
from include.errors.findings import Finding, Severity, did_you_mean, near_name
from include.errors.incidents import IncidentError
from include.errors.promotion import (
    HELD,
    OLDER_DATA,
    HoldError,
    MissingVersionError,
    NotPromotedError,
    OlderDataError,
    PromotionHeldError,
    ReasonError,
    RollbackTargetError,
)
from include.errors.scoring import (
    AssetNotUpdatedError,
    FencedError,
    LateRowsError,
    NoChampionAtTimeError,
    ParityMismatchError,
    ParityNotCheckedError,
    PartitionInUseError,
    PartitionOverlapError,
    ScoreBoundsError,
    ServiceClientError,
    SourceQueryError,
    VersionIncompatibleError,
    WrongPeriodError,
)
from include.errors.shadow import ChallengerIncompatibleError, ShadowBoundsError
from include.errors.training import (
    DeclarationChangedError,
    EstimatorError,
    NothingNewError,
    RetrainRunningError,
    TargetError,
    TimeLimitError,
    WorkerDiedError,
)

__all__ = [
    "DELETED_VERSION",
    "HELD",
    "OLDER_DATA",
    "UNUSABLE_FILE",
    "ApprovalRequiredError",
    "ApprovalTimedOutError",
    "ApprovalVoidError",
    "ApproverNotAllowedError",
    "ArtifactError",
    "ArtifactStoreError",
    "AssetNotUpdatedError",
    "CandidateRejectedError",
    "ChallengerIncompatibleError",
    "ContractDeadlineError",
    "ConversionError",
    "DatabaseError",
    "DeclarationChangedError",
    "EmptyPartitionError",
    "EstimatorError",
    "FencedError",
    "Finding",
    "HoldError",
    "IncidentError",
    "LateRowsError",
    "MissingGrantError",
    "MissingVersionError",
    "ModelAliveError",
    "ModelDeclaredError",
    "ModelInUseError",
    "NoChampionAtTimeError",
    "NoChampionError",
    "NotEnoughDataError",
    "NotPromotedError",
    "NothingNewError",
    "NothingToDeleteError",
    "OlderDataError",
    "ParityMismatchError",
    "ParityNotCheckedError",
    "PartitionInUseError",
    "PartitionOverlapError",
    "PrecisionError",
    "PromotionConflictError",
    "PromotionHeldError",
    "QueryError",
    "ReasonError",
    "ReconciliationError",
    "RetrainRunningError",
    "RollbackTargetError",
    "RowsRejectedError",
    "ScoreBoundsError",
    "ScoreTableError",
    "ServiceClientError",
    "SettingsError",
    "Severity",
    "ShadowBoundsError",
    "SignatureError",
    "SluiceError",
    "SourceQueryError",
    "SourceTableError",
    "SpecError",
    "TargetError",
    "TimeLimitError",
    "TrainingBackendError",
    "TrainingBudgetError",
    "UnknownModelError",
    "UnknownPromotionError",
    "UnknownVersionError",
    "ValidationFailedError",
    "VersionDeletedError",
    "VersionIncompatibleError",
    "WorkerDiedError",
    "WrongPeriodError",
    "did_you_mean",
    "is_transient",
    "near_name",
    "permanent_errors",
]

_LISTED = 20  # reasons in one message


class SettingsError(SluiceError):
    """An environment variable has an invalid value."""


class SpecError(SluiceError):
    """The declaration of a model is invalid.

    Parameters
    ----------
    file : Path
        The ``spec.py``, or the folder of a model that cannot be made.
    findings : sequence of Finding
        All faults of the declaration; at least one.
    """

    def __init__(self, file: Path, findings: Sequence[Finding]) -> None:
        listed = "\n".join(str(each) for each in findings)
        super().__init__(f"{listed}\nCorrect and save the file: Airflow reads it again automatically.")
        self.file, self.findings = file, tuple(findings)


class UnknownModelError(SluiceError):
    """No declared model has this name."""

    def __init__(self, name: str, declared: Sequence[str]) -> None:
        known = ", ".join(declared) or "none"
        super().__init__(
            f"there is no model '{name}'; declared models: {known}. `sluice new {name}` writes a skeleton."
        )
        self.name, self.declared = name, tuple(declared)


class UnknownVersionError(SluiceError):
    """The ledger has no version with this number."""

    alerts = False

    def __init__(self, model: str, version: int | str, existing: Sequence[int]) -> None:
        known = ", ".join(str(each) for each in existing) or "none yet: run `sluice train " + model + "`"
        super().__init__(f"model '{model}' has no version {version}; existing versions: {known}.")
        self.model, self.version, self.existing = model, version, tuple(existing)


class VersionDeletedError(UnknownVersionError):
    """The version belongs to a model that was deleted, and only its history is left."""

    def __init__(self, model: str, version: int, found: str = "deleted") -> None:
        SluiceError.__init__(
            self,
            f"version {version} of '{model}': expected a version of the present model; found that it was {found}. Only "
            f"its history is left: `sluice versions {model}`. To use the model again, declare it and train it: "
            "its versions continue with the next number.",
        )
        self.model, self.version, self.existing = model, version, ()


class UnknownPromotionError(SluiceError):
    """The ledger has no promotion with this sequence number."""

    def __init__(self, model: str, sequence: int, existing: Sequence[int]) -> None:
        known = ", ".join(str(each) for each in existing) or "none yet"
        super().__init__(
            f"model '{model}' has no promotion with sequence number {sequence}; those that exist: {known}. "
            f"`sluice history {model}` lists them."
        )


class PromotionConflictError(SluiceError):
    """The champion was changed between the time it was read and this promotion."""

    def __init__(self, model: str, sequence: int, winner_version: int, winner_actor: str) -> None:
        super().__init__(
            f"promotion of '{model}' did not get sequence number {sequence}: "
            f"'{winner_actor}' promoted version {winner_version} first. "
            f"See `sluice history {model}`, and promote again if your version should still be champion."
        )
        self.model, self.sequence = model, sequence
        self.winner_version, self.winner_actor = winner_version, winner_actor


class SourceTableError(SluiceError):
    """A table that Sluice would make exists already, and is not its own; nothing was changed."""


class ValidationFailedError(SluiceError):
    """The data break the model's contract, so the run stopped before using them."""

    def __init__(
        self, model: str, period: str, reasons: Sequence[str], docs: str | None, version: int | None = None
    ) -> None:
        listed = "; ".join(reason.rstrip(".") for reason in reasons[:_LISTED])
        listed += f"; and {len(reasons) - _LISTED} more" if len(reasons) > _LISTED else ""
        where = f" Data Docs: {docs}." if docs else ""
        advice = "Correct the source, or the contract in spec.py, and run again."
        if version is not None:
            advice = (
                "Correct the source, or the numbers of rows in spec.py, and run again. The features are those of "
                f"version {version}: if spec.py declares others now, train and promote a version that has them."
            )
        super().__init__(
            f"the data of '{model}' for {period} break {len(reasons)} rule(s) of its contract: {listed}. "
            f"The champion and the published scores are untouched.{where} "
            f"{advice} "
            "sluice.validation_result has the counts and the keys."
        )
        self.model, self.period, self.reasons, self.docs = model, period, tuple(reasons), docs


class EmptyPartitionError(ValidationFailedError):
    """A partition is not scored, because the source has no rows for it.

    Parameters
    ----------
    min_rows : int
        The minimum number of rows in the contract.
    ended : bool
        Whether the partition has ended.
    """

    def __init__(self, model: str, period: str, min_rows: int, *, ended: bool, docs: str | None = None) -> None:
        if ended:
            advice = (
                "If rows are still to come, score it when they are there. If there are none, as on a day without "
                "events, Contract(partition_rows=(0, ...)) in spec.py has it published as an empty partition."
            )
        else:
            advice = "The partition is not over yet: score it when its rows are there."
        expected = f"at least {min_rows:,} row(s)" if ended else "rows"
        SluiceError.__init__(
            self,
            f"model '{model}', partition {period}: expected {expected} to score; found none in the source. Nothing was "
            f"published; the published scores are untouched. {advice}",
        )
        self.model, self.period, self.docs = model, period, docs
        self.reasons: tuple[str, ...] = ("the source has no rows",)


class ContractDeadlineError(ValidationFailedError):
    """The data still broke the contract at the deadline until which a scheduled run waited for it."""

    def __init__(self, failed: ValidationFailedError, deadline: datetime, poll_interval: timedelta) -> None:
        SluiceError.__init__(
            self,
            f"{failed} The run waited for the contract until its deadline, {deadline:%Y-%m-%d %H:%M} UTC, and looked "
            f"at the rows every {poll_interval}. ScoreStart in spec.py has both. When the source is complete, clear "
            "the task 'validate'.",
        )
        self.model, self.period, self.reasons, self.docs = failed.model, failed.period, failed.reasons, failed.docs
        self.deadline = deadline


class CandidateRejectedError(SluiceError):
    """A gate rejected the candidate, so it is promoted only by a person who insists.

    Parameters
    ----------
    reasons : sequence of str
        The name and the sentence of each gate that failed.
    """

    def __init__(self, model: str, version: int, reasons: Sequence[str]) -> None:
        super().__init__(
            f"version {version} of '{model}' is registered but not promoted, because gates failed: "
            f"{'; '.join(reasons)}. The champion stays. A person may still promote it: "
            f"`sluice promote {model} {version} --force --reason ...`."
        )
        self.model, self.version, self.reasons = model, version, tuple(reasons)


class _ColumnError(SluiceError):
    """An error that may be about one column of the rows: a feature or the target."""

    def __init__(self, message: str, column: str | None = None) -> None:
        super().__init__(message)
        self.column = column


class NotEnoughDataError(_ColumnError):
    """A split has too few rows to train or to evaluate a model."""


class TrainingBudgetError(SluiceError):
    """A training would need more memory than its limit, so it was not started."""

    def __init__(self, model: str, rows: int, features: int, wanted_mib: int, budget_mib: int) -> None:
        super().__init__(
            f"model '{model}': expected a training that fits SLUICE_TRAIN_MEMORY_MIB={budget_mib}; found "
            f"{rows:,} rows of {features} features, which need about {wanted_mib:,} MiB. Nothing was trained; the "
            f"champion stays. Set SLUICE_TRAIN_MEMORY_MIB to {wanted_mib} or more if the machine has it, or shorten "
            "`window` in spec.py, or sample in features.sql."
        )
        self.model, self.wanted_mib, self.budget_mib = model, wanted_mib, budget_mib


class TrainingBackendError(SluiceError):
    """The backend in SLUICE_TRAIN_BACKEND cannot be used."""

    def __init__(self, backend: str, found: str, advice: str) -> None:
        super().__init__(
            f"SLUICE_TRAIN_BACKEND={backend}: expected joblib's backend of that name to be available; "
            f"found that {found}. {advice} Or unset it: then the training runs within its task."
        )
        self.backend = backend


class ConversionError(SluiceError):
    """An estimator, or a step of it, cannot be converted to ONNX exactly."""

    def __init__(self, model: str, step: str, reason: str, advice: str) -> None:
        super().__init__(f"model '{model}': step {step} cannot be served: {reason}. {advice}")
        self.model, self.step, self.reason = model, step, reason


class PrecisionError(_ColumnError):
    """A feature or a target has different values that are equal in single precision, the precision of serving."""


class ArtifactError(SluiceError):
    """A file of an artifact is missing, unexpected, or different from its digest in the ledger or the manifest."""


class SignatureError(ArtifactError):
    """A signature is missing, was made by an untrusted key, or is for other bytes."""


class ArtifactStoreError(SluiceError):
    """The object store does not answer, or answers with an error; a retry may succeed."""

    retryable = True


class ReconciliationError(SluiceError):
    """The rows that were read, scored and staged differ, so nothing was published."""


class RowsRejectedError(SluiceError):
    """Rows do not fit the model's signature.

    Parameters
    ----------
    faults : sequence of FieldError
        Each has the JSON path, the expected and the found value; at most 20 are kept.
    """

    def __init__(self, faults: Sequence[object]) -> None:
        super().__init__("; ".join(str(fault) for fault in faults))
        self.faults = tuple(faults)


class UnscorableRowsError(RowsRejectedError):
    """The model has no answer for some rows, although they match its signature.

    Parameters
    ----------
    faults : sequence of FieldError
        Of the first 20 of the rows.
    rows : sequence of int
        Their positions among the rows that were scored.
    """

    def __init__(self, faults: Sequence[object], rows: Sequence[int]) -> None:
        super().__init__(faults)
        self.rows = tuple(rows)


class ScoreTableError(DatabaseError):
    """A score table does not fit the declaration of its model."""

    retryable = False
