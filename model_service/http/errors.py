"""The errors that only a client of the service can meet."""

from __future__ import annotations

from collections.abc import Sequence

from include.errors import SluiceError
from include.inference import MAX_FIELD_ERRORS


class MalformedBodyError(SluiceError):
    """The request's body is not JSON."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"the body is not JSON: {reason}. Send an object such as "
            '{"features": [5.1, 3.5, 1.4, 0.2]} or {"features": {"name": value}}.'
        )


class PayloadTooLargeError(SluiceError):
    """The request holds more bytes or rows than the service takes at once."""

    def __init__(self, what: str, limit: int, setting: str) -> None:
        super().__init__(
            f"the request holds more than {limit} {what}, the most that is taken at once. "
            f"Send it in parts, or have the operator raise {setting}."
        )


class RequestTimeoutError(SluiceError):
    """The request did not come whole, or was not answered, within the time that a request has."""

    def __init__(self, seconds: float) -> None:
        super().__init__(
            f"expected the request to come whole and be answered within {seconds:g} s; found it still under way, so "
            "the connection is closed. Send it again, in parts if it is large, or have the operator raise "
            "SLUICE_SERVICE_REQUEST_TIMEOUT_SECONDS."
        )


class NotLoadedError(SluiceError):
    """A model has a champion that this worker does not hold yet, or could not load."""

    def __init__(self, model: str, *, faulty: bool) -> None:
        # Not the fault itself: it names paths and servers, which are for those who may ask about models.
        why = "its champion could not be loaded" if faulty else "its champion is being loaded; ask again in a second"
        super().__init__(
            f"model '{model}' cannot answer yet: {why}. GET /ready tells why, where tokens are asked for to one "
            "with the scope 'models'."
        )
        self.model = model


class ScoreNotFoundError(SluiceError):
    """A score was asked for a key that no published partition holds."""

    def __init__(self, model: str, key: str, newest_partition: str | None) -> None:
        newest = (
            f"the newest published partition starts at {newest_partition}"
            if newest_partition
            else f"no partition was published yet: run the DAG score_{model} or `sluice score {model}`"
        )
        super().__init__(f"model '{model}' has no score of key '{key[:100]}'; {newest}.")
        self.model, self.newest_partition = model, newest_partition


class ScoresUnavailableError(SluiceError):
    """The database that holds the scores does not answer."""

    def __init__(self) -> None:
        super().__init__(
            "the score tables cannot be read now: the database does not answer. "
            "Predictions are not affected; ask for the score again later."
        )


class LedgerUnavailableError(SluiceError):
    """The database that holds the ledger does not answer."""

    def __init__(self) -> None:
        super().__init__(
            "the ledger cannot be read now: the database does not answer. "
            "The champions go on answering, and so do versions that are in memory; ask again later."
        )


class ArtifactVerificationError(SluiceError):
    """A version that was asked for by number is not what the ledger says, so it does not answer."""

    def __init__(self, model: str, version: int, reason: str) -> None:
        super().__init__(f"version {version} of '{model}' was refused: {reason}")
        self.model, self.version = model, version


class InvalidParameterError(SluiceError):
    """A parameter of the request's query is not what the route takes."""

    def __init__(self, name: str, expected: str, found: str) -> None:
        super().__init__(f"parameter '{name}': expected {expected}; found {found[:60]!r}.")
        self.name = name


class TensorsRejectedError(SluiceError):
    """An inference request is not one of the protocol, or its tensors are not those that the model takes."""

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__("; ".join(faults[:MAX_FIELD_ERRORS]))
        self.faults = tuple(faults)


class ContentEncodingError(SluiceError):
    """A compressed body is not what its Content-Encoding says."""

    def __init__(self, encoding: str, reason: str) -> None:
        super().__init__(f"the body is not {encoding}: {reason}. Send it whole, or not compressed.")


class JobNotFoundError(SluiceError):
    """A job was named that the caller does not have."""

    def __init__(self, job: str) -> None:
        super().__init__(f"you have no job '{job[:40]}': it never was, is another's, or has expired. Submit it again.")


class JobFinishedError(SluiceError):
    """A job was to be cancelled that is over."""

    def __init__(self, job: str, state: str) -> None:
        super().__init__(f"job '{job[:40]}' is {state}, so there is nothing to cancel. It is removed when it expires.")


class TooManyJobsError(SluiceError):
    """As many jobs wait or run as may."""

    def __init__(self, most: int) -> None:
        super().__init__(
            f"{most} jobs wait or run already, the most that are taken. Submit it again later, "
            "or have the operator raise SLUICE_SERVICE_JOB_QUEUE_LIMIT."
        )


class JobsUnavailableError(SluiceError):
    """The database that holds the jobs does not answer, or does not let the service write."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"jobs cannot be read or written now: {reason}. Predictions are not affected.")
