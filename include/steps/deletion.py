"""The deletion of a model whose declaration is gone: its tables, artifacts and files go, its history stays.

The order makes it safe to be killed at any moment, because the same command again does the rest:

1. One transaction drops the tables, removes the service's records and records the deletion: all of it or nothing. From
   then on the model has no champion, and the database refuses its versions.
2. The artifacts are removed from the store, then the folders on this machine. Nothing reads them any more.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from sqlalchemy import Engine

from include import scoring
from include.errors import ModelDeclaredError, ModelInUseError, NothingToDeleteError, did_you_mean
from include.reasons import check_reason
from include.records import DeletionPlan, ModelDeletion
from include.registry import (
    count_requests,
    no_registration,
    record_deletion,
    registered_models,
    remove_requests,
)
from include.resources import Resources
from include.settings import Settings

_NAME = re.compile(r"[a-z][a-z0-9_]*")


def plan_deletion(model: str, resources: Resources) -> DeletionPlan:
    """Return what `delete_model` would remove, and what keeps it from doing so. Nothing is changed.

    Raises
    ------
    ModelDeclaredError
        When the model is still declared.
    NothingToDeleteError
        When nothing of the model exists; the message names the near one.
    """
    folder = resources.settings.models_dir / model
    # A name becomes part of paths and identifiers, so anything else is no model.
    if _NAME.fullmatch(model) is None:
        raise _unknown(model, resources)
    if (folder / "spec.py").exists():
        raise ModelDeclaredError(model, folder)
    ledger = resources.ledger
    with scoring.database_errors(f"deletion of model '{model}'"):
        with resources.engine.connect() as connection:
            relations = scoring.find_relations(connection, model)
        deletions, versions = ledger.deletions(model), ledger.version_numbers(model)
        published, champion = ledger.published_partitions(model), ledger.champion(model)
        jobs, logged = count_requests(resources.engine, model)
    plan = DeletionPlan(
        model=model,
        versions=tuple(versions),
        champion=champion.to_version if champion else None,
        partitions=len(published),
        rows=sum(each.row_count for each in published),
        relations=relations.names,
        staging=relations.staging,
        jobs=jobs,
        logged=logged,
        artifacts=resources.artifacts.list(model),
        artifacts_at=resources.artifacts.locate(model, 0).rsplit("/0", 1)[0],
        folders=tuple(str(each) for each in _folders(model, resources.settings) if each.exists()),
        dependents=relations.dependents,
        begun=deletions[-1] if deletions and not versions else None,
    )
    if plan.begun is None and not (versions or plan.relations or plan.staging or plan.artifacts or plan.folders):
        raise _unknown(model, resources)
    return plan


def delete_model(model: str, actor: str, reason: str, resources: Resources) -> ModelDeletion:
    """Delete a model whose declaration is gone; the ledger keeps its history, and who deleted it and why.

    A deletion that was interrupted is finished, and keeps its first record.

    Raises
    ------
    ReasonError
        When the reason is too short; see `include.reasons`.
    ModelDeclaredError, NothingToDeleteError
        See `plan_deletion`.
    ModelInUseError
        When objects that Sluice did not make depend on the tables of the model.
    DatabaseError
        When somebody uses the tables, or the database fails; nothing was deleted.
    ModelAliveError
        When a version was registered while this ran; no artifact was removed.
    """
    reason = check_reason(reason)
    plan = plan_deletion(model, resources)
    if plan.dependents:
        raise ModelInUseError(model, plan.dependents)
    deletion = remove_from_database(model, actor, reason, resources.engine)
    # While no version can be registered: its artifact would be removed, too.
    with scoring.database_errors(f"deletion of model '{model}'"), no_registration(resources.engine, deletion):
        resources.artifacts.remove(model)
        for folder in _folders(model, resources.settings):
            if folder.exists():
                shutil.rmtree(folder)
    resources.telemetry.count(f"{model}.deletions")
    return deletion


def remove_from_database(model: str, actor: str, reason: str, engine: Engine) -> ModelDeletion:
    """Drop the tables of a model and record its deletion, in one transaction: the first part of `delete_model`."""
    with scoring.database_errors(f"deletion of model '{model}'"), engine.begin() as connection:
        scoring.drop_relations(connection, model)
        remove_requests(connection, model)
        return record_deletion(connection, model, actor, reason)


def _folders(model: str, settings: Settings) -> tuple[Path, ...]:
    home = settings.home
    return (home / "snapshots" / model, settings.work_dir / model, settings.docs_dir / model, home / "cards" / model)


def _unknown(model: str, resources: Resources) -> NothingToDeleteError:
    return NothingToDeleteError(model, did_you_mean(model, registered_models(resources.engine)))
