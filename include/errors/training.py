"""Errors of a training: the declared estimator, the target, the time that a step may take."""

from __future__ import annotations

from include.errors.base import SluiceError


class DeclarationChangedError(SluiceError):
    """The declaration was changed while a run was under way, so its steps would follow two declarations.

    Parameters
    ----------
    kept : str
        What the run has left as it was, as a sentence.
    """

    def __init__(self, model: str, kept: str) -> None:
        super().__init__(
            f"model '{model}': the declaration changed: run again. Expected spec.py and features.sql as they were when "
            f"this run began; found that they were changed meanwhile. {kept} Start a new run, or clear this one from "
            "its first task."
        )
        self.model = model


class NothingNewError(SluiceError):
    """A retrain has the same declaration, rows, code and libraries as a registered version, so it registers nothing.

    Parameters
    ----------
    version : int
        The registered version.
    run_id : str
        The run that registered it.
    standing : str
        What became of the version, and what to do with it, as sentences.
    """

    alerts = False

    def __init__(self, model: str, version: int, run_id: str, standing: str) -> None:
        super().__init__(
            f"model '{model}': nothing new: version {version} (run {run_id}) was made from the same rows, declaration, "
            f"code and libraries. Nothing was registered. {standing} To train it once more all the same: "
            f"`sluice train {model} --again`."
        )
        self.model, self.version, self.run_id = model, version, run_id


class RetrainRunningError(SluiceError):
    """Another retrain of the model is under way, here or in Airflow."""

    retryable = True

    def __init__(self, model: str, waited: float) -> None:
        after = f" after {waited:g} s" if waited else ""
        super().__init__(
            f"model '{model}': expected no other retrain to be under way; found one, by the command line or in the DAG "
            f"retrain_{model}{after}. Nothing was changed. Wait until it has ended, then run this one again."
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
