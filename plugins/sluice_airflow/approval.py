"""The task ``approve``: it shows a version's evidence in Airflow, and waits for a person's approval."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any, Literal

from airflow.providers.standard.operators.hitl import HITLOperator
from airflow.sdk import Param
from airflow.sdk.exceptions import AirflowSkipException

from include.errors import ApprovalTimedOutError
from include.reasons import MIN_CHARACTERS, check_reason
from include.records import ModelVersion
from include.spec import ModelSpec
from sluice_airflow import runs
from sluice_airflow.evidence_page import evidence_page

if TYPE_CHECKING:
    from airflow.sdk import Context

APPROVE, REJECT = "Approve", "Reject"
NOBODY = "nobody"
COMMENT = "the comment of the answer (clear the task 'approve' to be asked again)"


class EvidenceApproval(HITLOperator):
    """Waits for a person to approve a version that the gates accepted. Without a response in time, it is not promoted.

    Parameters
    ----------
    spec : ModelSpec
        A model with an `approval`.
    registered : XComArg
        The version, as the task ``gate`` returns it.
    """

    template_fields: Collection[str] = ("subject", "body", "registered")

    def __init__(self, *, spec: ModelSpec, registered: Any, **kwargs: Any) -> None:
        if spec.approval is None:
            raise ValueError(f"model '{spec.name}': expected a declared approval; found none")
        named = spec.approval.approvers
        kwargs.pop("params", None)  # Airflow adds the DAG's, which are of the form that starts a run
        super().__init__(
            subject=f"Promote a new version of {spec.name}?",
            options=[APPROVE, REJECT],
            params={
                # Without a value the task runs, too: it is a person's, who fills it in while the task waits.
                "comment": Param(
                    None,
                    type=["null", "string"],
                    minLength=MIN_CHARACTERS,
                    maxLength=500,
                    title="Comment",
                    description="Why, in one sentence. The ledger keeps it permanently.",
                )
            },
            assigned_users=[{"id": each, "name": each} for each in named] or None,
            response_timeout=spec.approval.timeout,
            execution_timeout=None,  # a person may take longer than the time limit of a task
            **kwargs,
        )
        self.spec = spec
        self.registered = registered

    def execute(self, context: Context) -> Any:
        """Show the evidence and wait; skip a version that a gate rejected."""
        from include import pipeline
        from include.registry import active_hold

        version = ModelVersion.from_plain(self.registered)
        runs.skip_if_rejected(version)
        with pipeline.open_resources() as resources:
            hold = active_hold(resources.engine, version.model)
            self.body = evidence_page(version, resources.settings.card_url(version.model, version.version), hold)
        return super().execute(context)

    def execute_complete(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:
        """Store the response; raise unless it is a valid approval."""
        from include import pipeline

        version = ModelVersion.from_plain(self.registered)
        requested_by = context["dag_run"].triggering_user_name
        if event.get("error_type") == "timeout":
            with pipeline.open_resources() as resources:
                pipeline.record_approval(self.spec, version, "timed out", NOBODY, requested_by, "", resources)
            assert self.response_timeout is not None  # noqa: S101  # a declared approval has one
            raise ApprovalTimedOutError(version.model, version.version, self.response_timeout)
        comment = check_reason(str((event.get("params_input") or {}).get("comment") or ""), COMMENT)
        answer = super().execute_complete(context, event)
        user = answer["responded_by_user"]
        approver = str(user["name"] if user else NOBODY)
        approved = answer["chosen_options"] == [APPROVE]
        verdict: Literal["approved", "rejected"] = "approved" if approved else "rejected"
        with pipeline.open_resources() as resources:
            decided = pipeline.record_approval(self.spec, version, verdict, approver, requested_by, comment, resources)
        if not approved:
            raise AirflowSkipException(f"{approver} rejected version {version.version} of {version.model}: {comment}")
        return decided.to_plain()
