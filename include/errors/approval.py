"""Errors of approvals."""

from __future__ import annotations

from datetime import timedelta

from include.errors.base import SluiceError


class ApprovalRequiredError(SluiceError):
    """A version may not be promoted without a valid approval."""

    def __init__(self, model: str, version: int, why: str) -> None:
        super().__init__(
            f"version {version} of '{model}' may be promoted only with another person's approval, and {why}. "
            f"The champion stays. `sluice approve {model} {version} --comment ...`, then promote it again."
        )
        self.model, self.version, self.why = model, version, why


class ApprovalVoidError(SluiceError):
    """The model or its evidence changed after the approval was requested, so the approval is void."""

    def __init__(self, model: str, version: int, why: str) -> None:
        super().__init__(
            f"the approval of version {version} of '{model}' is void: {why} since the evidence was shown. "
            f"The champion stays. Approve the newest candidate instead, or see `sluice history {model}`."
        )
        self.model, self.version, self.why = model, version, why


class ApproverNotAllowedError(SluiceError):
    """The approver triggered the run, or is not one of the declared approvers."""

    def __init__(self, model: str, version: int, who: str, why: str) -> None:
        super().__init__(
            f"'{who}' may not approve version {version} of '{model}': {why}. The champion stays. Clear the task "
            "'approve' to request the approval again, or let another person run "
            f"`sluice approve {model} {version}`."
        )
        self.model, self.version, self.who, self.why = model, version, who, why


class ApprovalTimedOutError(SluiceError):
    """Nobody responded in time, so the version is not promoted."""

    def __init__(self, model: str, version: int, timeout: timedelta) -> None:
        super().__init__(
            f"nobody approved version {version} of '{model}' within {timeout}, so it is not promoted. "
            "The champion stays. Clear the task 'approve' to request it again."
        )
        self.model, self.version, self.timeout = model, version, timeout
