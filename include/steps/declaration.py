"""A run keeps the declaration that it began with: what was read then, what a step has read, and what the files say."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

from include.errors import DeclarationChangedError
from include.records import (
    ExportedCandidate,
    FittedCandidate,
    ModelVersion,
    ScorePlan,
    SnapshotRef,
    ValidationReport,
)
from include.spec import ModelSpec

NOT_REGISTERED: Final = "Nothing was registered; the champion stays."
NOT_PUBLISHED: Final = "Nothing was published; the former rows stay."


def check_pinned(spec: ModelSpec, inputs: Iterable[Any]) -> None:
    """Check that a step would follow the declaration that its run began with.

    Each task of a run reads the files again, and a run in one process reads some of them again. So a step may start
    only if three declarations are the same: the one of the run's first step, which the results of earlier steps name,
    the one that `spec` was read from, and the files at this moment.

    Parameters
    ----------
    inputs : iterable
        What the step takes: results of earlier steps, and other values, which do not matter.

    Raises
    ------
    DeclarationChangedError
    """
    pinned = [(digest, kept) for each in inputs for digest, kept in _pinned(each) if digest]
    known = {digest for digest, _ in pinned} | ({spec.read_digest} if spec.read_digest else set())
    if known and known != {_present(spec)}:
        kept = pinned[0][1] if pinned else "Nothing was changed."
        raise DeclarationChangedError(spec.name, kept)


def _present(spec: ModelSpec) -> str:
    try:
        return spec.digest
    except FileNotFoundError:
        return "the declaration is gone"


def _pinned(value: Any) -> Iterator[tuple[str, str]]:
    """Yield the digest that a result of an earlier step has, and what is as it was when the run ends here."""
    match value:
        case ValidationReport():
            yield value.spec_digest, NOT_REGISTERED if value.purpose == "train" else NOT_PUBLISHED
        case ScorePlan():
            yield value.spec_digest, NOT_PUBLISHED
        case SnapshotRef():
            yield value.spec_digest, NOT_REGISTERED
        case FittedCandidate():
            yield value.snapshot.spec_digest, NOT_REGISTERED
        case ExportedCandidate():
            yield value.fitted.snapshot.spec_digest, NOT_REGISTERED
        case ModelVersion():
            yield value.spec_digest, f"Version {value.version} is registered and not promoted; the champion stays."
