"""Errors of a training: the declared estimator, the target, the time that a step may take."""

from __future__ import annotations

from include.errors.base import SluiceError


class DeclarationChangedError(SluiceError):
    """The declaration was changed while a retrain ran, so its steps followed two declarations."""

    def __init__(self, model: str) -> None:
        super().__init__(
            f"model '{model}': expected spec.py and features.sql as they were when this run read its rows; found that "
            "they were changed meanwhile. Nothing was registered; the champion stays. Start the retrain again."
        )
        self.model = model


class EstimatorError(SluiceError):
    """The declared estimator cannot be built or trained, or does not fit the task.

    Parameters
    ----------
    subject : str
        What is at fault, such as ``step logisticregression (LogisticRegression)``.
    found : str
        What is wrong with it, as the continuation of `subject`.
    advice : str
        What to do next, as whole sentences.
    """

    def __init__(self, model: str, subject: str, found: str, advice: str) -> None:
        super().__init__(f"model '{model}': {subject} {found}. {advice} Nothing was trained; the champion stays.")
        self.model, self.subject = model, subject


class TargetError(SluiceError):
    """The target has values that no estimator can learn: NaN, infinity, or a class that was not declared."""

    def __init__(self, model: str, target: str, part: str, found: str, advice: str) -> None:
        super().__init__(f"model '{model}': target '{target}' in the {part} rows: {found}. {advice}")
        self.model, self.target = model, target


class TimeLimitError(SluiceError):
    """A step did not end within its time limit and was stopped."""

    def __init__(self, step: str, seconds: float) -> None:
        super().__init__(
            f"step {step}: expected it to end within {seconds:g} s; found it still at work, so it was stopped."
        )
        self.step, self.seconds = step, seconds


class WorkerDiedError(SluiceError):
    """The process that did a step ended without a result, as when the system stops it for its memory."""

    retryable = True

    def __init__(self, step: str, exit_code: int | None) -> None:
        super().__init__(
            f"step {step}: expected a result; its process ended without one (exit code {exit_code}). If the system "
            "stopped it for its memory, give the training more, or shorten `window` in spec.py."
        )
        self.step, self.exit_code = step, exit_code
