"""The approval of a version by a person, after it passed its gates and before it is promoted."""

from __future__ import annotations

from datetime import timedelta

from include.spec.base import PositiveDuration, SpecModel


class ApprovalPolicy(SpecModel):
    """A person, but not the one who triggered the run, must approve a version in the Airflow UI before it is promoted.

    If `approvers` is empty, anyone with permission to respond in Airflow may approve. If nobody responds
    within `timeout`, the version is not promoted.
    """

    timeout: PositiveDuration = timedelta(days=2)
    approvers: tuple[str, ...] = ()
