"""ApprovalPolicy: who has to say yes before a version that passed its gates is promoted."""

from __future__ import annotations

from datetime import timedelta

from include.spec.base import PositiveDuration, SpecModel


class ApprovalPolicy(SpecModel):
    """A person other than who triggered the run approves a version in the Airflow UI before it is promoted.

    With no `approvers`, anybody may who may answer in Airflow. No answer within `timeout` is a no.
    """

    timeout: PositiveDuration = timedelta(days=2)
    approvers: tuple[str, ...] = ()
