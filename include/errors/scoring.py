"""Errors of scoring: of publication, of the past, and of the watch on parity between batch and online."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from include.errors.base import NoChampionError, SluiceError


class NoChampionAtTimeError(NoChampionError):
    """A partition of the past was to be scored by the champion of that time, and there was none yet."""

    def __init__(self, model: str, period: str, first_version: int, first_at: datetime) -> None:
        SluiceError.__init__(
            self,
            f"model '{model}', partition {period}: expected a champion of that time to score it with; found none: the "
            f"first was version {first_version}, promoted {first_at:%Y-%m-%d %H:%M} UTC, and may have learned from "
            f"these very rows. A version that is named scores them: `sluice backfill {model} --from ... --to ... "
            f'--version {first_version}`, or in Airflow the parameter {{"model_version": {first_version}}}; the ledger '
            "then says that it was named.",
        )
        self.model, self.period = model, period


class ServiceClientError(SluiceError):
    """The online service could not be asked, or did not answer what it was asked."""

    def __init__(self, address: str, asked: str, found: str) -> None:
        super().__init__(
            f"the online service at {address}: expected {asked}; found {found}. Look at its /ready and its log; "
            "SLUICE_SERVICE_URL names where tasks reach it, SLUICE_SERVICE_TOKEN what they show it."
        )
        self.address = address


class ParityMismatchError(SluiceError):
    """The service and the score table give the same row different numbers."""

    def __init__(self, partition: str, expected: str, found: str, what_became: str) -> None:
        super().__init__(
            f"{partition}: expected {expected}; found {found}. {what_became} Do not trust either number before you "
            "know why: compare the artifact's digest that both name, and look at sluice.parity_check."
        )
        self.partition = partition


class ParityNotCheckedError(SluiceError):
    """Parity decides on publication, and the service could not be asked."""

    def __init__(self, partition: str, reason: str) -> None:
        super().__init__(
            f"{partition}: expected parity with the running service, for which Scoring(parity='block') asks; it was "
            f"not checked: {reason} Nothing was published, the former rows stay."
        )
        self.partition = partition


class FencedError(SluiceError):
    """A newer attempt at the same work has replaced this one, which may do nothing more."""

    def __init__(self, work: str, attempt: int, run_id: str, newer: int, newer_run: str, newer_since: object) -> None:
        super().__init__(
            f"{work}: attempt {attempt} (run {run_id}) is fenced: attempt {newer} (run {newer_run}) replaced it at "
            f"{newer_since}. Nothing was written by the older one. Nothing to do: look at the newer run; "
            "sluice.score_attempt lists all."
        )
        self.work, self.attempt, self.newer = work, attempt, newer


class PartitionOverlapError(SluiceError):
    """A partition does not fit between those that a score table has: the schedule's interval was changed."""


class PartitionInUseError(SluiceError):
    """A partition is not removed, because a look-up still needs it or it is not there."""

    def __init__(self, model: str, start: datetime, why: str) -> None:
        super().__init__(
            f"the partition of '{model}' that starts at {start:%Y-%m-%d %H:%M} UTC is not removed: {why}. "
            "sluice.published_partition lists what there is; Scoring(retain_latest=False) in spec.py lets go of "
            "newest scores."
        )
        self.model, self.start, self.why = model, start, why


class ScoreBoundsError(SluiceError):
    """Scores were not published because their distribution is outside the declared bounds."""

    def __init__(self, model: str, period: str, reasons: Sequence[str]) -> None:
        super().__init__(
            f"the scores of '{model}' for {period} are not published: {'; '.join(reasons)}. The former rows stay "
            "readable. Look at the source's rows and at the champion; if the world changed, change "
            "Scoring(bounds=...) in spec.py and run again."
        )
        self.model, self.period, self.reasons = model, period, tuple(reasons)
