"""The last tasks of ``retrain_<model>``: the request for an approval, and the event of the promotion."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any

from include.records import Promotion
from include.spec import ModelSpec
from sluice_airflow import assets, runs

if TYPE_CHECKING:
    from airflow.sdk import Context


def approval_task(spec: ModelSpec, registered: Any) -> Any:
    """Return the task ``approve``, which waits for a person to approve the version `registered`, an XComArg."""
    # Imported here: it loads much of Airflow, and few models need it.
    from sluice_airflow.approval import EvidenceApproval

    return EvidenceApproval(task_id="approve", spec=spec, registered=registered)


@contextmanager
def skip_rejected(_: Context, values: dict[str, Any]) -> Iterator[None]:
    """Skip the promotion of a version that a gate rejected, or that a hold or older data keep from being promoted."""
    runs.skip_if_rejected(values["version"])
    with runs.skip_refusals():
        yield


def skip_if_nothing_new(_context: Context, _values: dict[str, Any]) -> AbstractContextManager[None]:
    """Skip the task, and so those after it, when another run has registered a version of the same origin."""
    return runs.skip_refusals()


def announce(context: Context, values: dict[str, Any], promotion: Promotion) -> None:
    """Fill the event of the champion's asset."""
    event = assets.promotion_event(promotion, values["version"].artifact_digest)
    context["outlet_events"][assets.champion(promotion.model)].extra = event
