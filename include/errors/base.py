"""The base class of all errors, and an error that others derive from."""

from __future__ import annotations

import copyreg
import errno
from collections.abc import Iterator
from typing import Any, ClassVar, Final

UNUSABLE_FILE: Final = frozenset(
    {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.ENOTDIR, errno.ENAMETOOLONG}
)
"""Numbers of an OSError that a person mends: rights, space, or a path that cannot be one. No fault of Sluice."""


class SluiceError(Exception):
    """The base class of every error that Sluice raises on purpose.

    Attributes
    ----------
    retryable : bool
        Whether a retry of the same work may succeed. False: the same inputs give the same error, so a person has to act
        first, and Airflow does not retry the task.
    alerts : bool
        Whether people are told when a task fails because of it. False: nobody needs to act, or who made the mistake is
        looking at its result. Then it is only recorded.
    """

    retryable: ClassVar[bool] = False
    alerts: ClassVar[bool] = True

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the message and the attributes, not the arguments: an error crosses processes as it is."""
        return copyreg.__newobj__, (type(self), *self.args), self.__dict__  # type: ignore[attr-defined]  # no stub


def permanent_errors() -> Iterator[type[SluiceError]]:
    """Yield every error class that is not retryable: `SluiceError` and its subclasses."""
    classes: list[type[SluiceError]] = [SluiceError]
    while classes:
        each = classes.pop()
        classes += each.__subclasses__()
        if not each.retryable:
            yield each


class NoChampionError(SluiceError):
    """A model has no champion, so it cannot score or roll back."""

    def __init__(self, model: str) -> None:
        super().__init__(
            f"model '{model}' has no champion: no version was ever promoted. "
            f"Run its DAG retrain_{model} or `sluice train {model}`, then see `sluice history {model}`."
        )
        self.model = model
