"""The parent of all errors, and the one that errors of several stages are a kind of."""

from __future__ import annotations


class SluiceError(Exception):
    """The parent of every error that Sluice raises on purpose."""


class NoChampionError(SluiceError):
    """A model has no champion, so there is nothing to score or to roll back with."""

    def __init__(self, model: str) -> None:
        super().__init__(
            f"model '{model}' has no champion: no version was ever promoted. "
            f"Run its DAG retrain_{model} or `sluice train {model}`, then look at `sluice history {model}`."
        )
        self.model = model
