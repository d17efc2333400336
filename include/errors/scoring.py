"""Errors of scoring: publication, backfills, and parity between batch and online."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from include.errors.base import NoChampionError, SluiceError


class NoChampionAtTimeError(NoChampionError):
    """A past partition should be scored by the champion of that time, but there was none yet."""

    def __init__(self, model: str, period: str, first_version: int, first_at: datetime) -> None:
        SluiceError.__init__(
            self,
            f"model '{model}', partition {period}: expected a champion of that time to score it with; found none: the "
            f"first was version {first_version}, promoted {first_at:%Y-%m-%d %H:%M} UTC, and may have been trained on "
            f"these rows. To score them with that version, name it: `sluice backfill {model} --from ... --to ... "
            f'--version {first_version}`, or in Airflow the parameter {{"model_version": {first_version}}}; the ledger '
            "then records that it was named.",
        )
        self.model, self.period = model, period


class SourceQueryError(SluiceError):
    """A features query does not run on the source as it is now."""

    def __init__(self, model: str, found: str) -> None:
        super().__init__(
            f"features.sql of model '{model}': expected a query that runs on today's source; found: {found}. "
            "Compare it with the columns of the source."
        )
        self.model, self.found = model, found


class VersionIncompatibleError(SluiceError):
    """A version does not fit the declaration or the source as they are now, so it may not meet data.

    Parameters
    ----------
    differences : sequence of str
        Each says what the version has and what was found instead.
    """

    def __init__(self, model: str, version: int, differences: Sequence[str], untouched: str) -> None:
        super().__init__(
            f"version {version} of '{model}' does not fit today's declaration or source: {'; '.join(differences)}. "
            f"{untouched} Undo the change in spec.py, features.sql or the source, or train a version that fits "
            f"(`sluice train {model}`) and promote that."
        )
        self.model, self.version, self.differences = model, version, tuple(differences)


class ServiceClientError(SluiceError):
    """A request to the online service failed, or its response is not the expected one."""

    retryable = True

    def __init__(self, address: str, expected: str, found: str) -> None:
        super().__init__(
            f"the online service at {address}: expected {expected}; found {found}. Check its /ready and its log, and "
            "SLUICE_SERVICE_URL (its address) and SLUICE_SERVICE_TOKEN (the token of the tasks)."
        )
        self.address = address


class ParityMismatchError(SluiceError):
    """The service and the score table have different predictions for the same row."""

    def __init__(self, partition: str, expected: str, found: str, what_became: str) -> None:
        super().__init__(
            f"{partition}: expected {expected}; found {found}. {what_became} Do not trust either number before you "
            "know the cause: compare the artifact digests of both, and see sluice.parity_check."
        )
        self.partition = partition


class ParityNotCheckedError(SluiceError):
    """The declaration requires a parity check before publication, and the service could not be reached for it."""

    retryable = True

    def __init__(self, partition: str, reason: str) -> None:
        super().__init__(
            f"{partition}: expected parity with the running service, which Scoring(parity='block') requires; it was "
            f"not checked: {reason} Nothing was published; the former rows stay."
        )
        self.partition = partition


class FencedError(SluiceError):
    """A newer attempt at the same work has replaced this one, so this one must stop."""

    alerts = False

    def __init__(self, work: str, attempt: int, run_id: str, newer: int, newer_run: str, newer_since: object) -> None:
        if newer_run == run_id:
            advice = (
                "If a later try of this run does the work, no action is needed. If this task was cleared after the "
                "partition was published, clear the run's task 'validate' with all tasks after it: they score the "
                "partition again"
            )
        else:
            advice = "No action is needed: see the newer run"
        super().__init__(
            f"{work}: attempt {attempt} (run {run_id}) is fenced: attempt {newer} (run {newer_run}) replaced it at "
            f"{newer_since}. The older one wrote nothing. {advice}; sluice.score_attempt lists all attempts."
        )
        self.work, self.attempt, self.newer = work, attempt, newer


class PartitionOverlapError(SluiceError):
    """A partition overlaps published partitions of another length: the schedule was changed."""


class WrongPeriodError(SluiceError):
    """A period that should be scored is no partition of the model's schedule; it would block those that are."""

    alerts = False

    def __init__(self, model: str, period: str, partition: str) -> None:
        super().__init__(
            f"model '{model}': expected one partition of its schedule, such as {partition}; found {period}. Nothing "
            "was read or published. Name the partition (the field `partition` of the form in Airflow, or `sluice score "
            f"{model} --partition DATE`); for several, run a backfill."
        )
        self.model, self.period = model, period


class PartitionInUseError(SluiceError):
    """A partition is not removed, because a look-up still needs it or it does not exist."""

    def __init__(self, model: str, start: datetime, why: str) -> None:
        super().__init__(
            f"the partition of '{model}' that starts at {start:%Y-%m-%d %H:%M} UTC is not removed: {why}. "
            "sluice.published_partition lists the published partitions. To allow the removal of newest scores, set "
            "Scoring(retain_latest=False) in spec.py."
        )
        self.model, self.start, self.why = model, start, why


class LateRowsError(SluiceError):
    """A partition whose source has changed could not be scored again."""

    def __init__(self, model: str, reasons: Sequence[str], rescored: int) -> None:
        super().__init__(
            f"model '{model}': expected to score {len(reasons) + rescored} partition(s) with late rows again; "
            f"{len(reasons)} failed: {' '.join(reasons)} Their published rows stay, the newest partition is published."
        )
        self.model, self.reasons = model, tuple(reasons)


class AssetNotUpdatedError(SluiceError):
    """A scheduled run waited for an event of an Airflow asset until its deadline, in vain."""

    def __init__(self, model: str, period: str, asset: str, deadline: datetime, found: str) -> None:
        super().__init__(
            f"model '{model}', partition {period}: expected an event of the asset '{asset}' that says that the source "
            f"is complete, until the deadline, {deadline:%Y-%m-%d %H:%M} UTC; found {found}. Nothing was scored; the "
            "published rows stay. Look at the DAG that updates the asset, and whether Airflow's page Assets lists it "
            "under this name. When the source is complete, clear the task 'wait' after the asset's event, or score the "
            f"partition at once: trigger score_{model} with `partition`, or `sluice score {model} --partition DATE`. "
            "ScoreStart in spec.py has the asset and the deadline."
        )
        self.model, self.period, self.asset, self.deadline = model, period, asset, deadline


class ScoreBoundsError(SluiceError):
    """Scores were not published, because their distribution is outside the declared bounds."""

    def __init__(self, model: str, period: str, reasons: Sequence[str]) -> None:
        super().__init__(
            f"the scores of '{model}' for {period} are not published: {'; '.join(reasons)}. The former rows stay "
            "readable. Check the source's rows and the champion. If the change is real, change "
            "Scoring(bounds=...) in spec.py and run again."
        )
        self.model, self.period, self.reasons = model, period, tuple(reasons)
