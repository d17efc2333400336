"""``sluice delete``: shows what the deletion of a model removes, asks for its name, and deletes it."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Iterator

from include import pipeline
from include.cli import exit_status, person
from include.errors import ModelInUseError, SluiceError
from include.models import DeclaredModels
from include.records import DeletionPlan
from include.resources import Resources


def delete(arguments: Namespace, _models: DeclaredModels, resources: Resources) -> int:
    """Delete a model whose declaration is gone, after a question.

    Raises
    ------
    ModelInUseError
        When something that Sluice did not make depends on its tables.
    SluiceError
        When nobody can be asked, or the pipeline refuses.
    """
    plan = pipeline.plan_deletion(arguments.model, resources)
    for line in _listed(plan):
        sys.stdout.write(line + "\n")
    if plan.dependents:
        raise ModelInUseError(plan.model, plan.dependents)
    if not arguments.yes and not _confirmed(plan.model):
        sys.stdout.write("Nothing was deleted: that is not the name of the model.\n")
        return exit_status.FAILED
    deletion = pipeline.delete_model(plan.model, person.who(), arguments.reason, resources)
    sys.stdout.write(f"Model {plan.model} is {deletion}\n")
    sys.stdout.write(f"Its history stays: `sluice history {plan.model}` and `sluice versions {plan.model}`.\n")
    return 0


def _confirmed(model: str) -> bool:
    if not sys.stdin.isatty():
        raise SluiceError(
            f"delete: expected a terminal, to ask for the name of the model; found none. Nothing was deleted. In a "
            f"script, confirm with --yes: `sluice delete {model} --yes --reason ...`."
        )
    sys.stdout.write("This cannot be undone. Type the name of the model to delete it: ")
    sys.stdout.flush()
    return sys.stdin.readline().strip() == model


def _listed(plan: DeletionPlan) -> Iterator[str]:
    if plan.begun is not None:
        yield f"{plan.model} was {plan.begun}"
        yield "What is left of it is removed now:"
    else:
        yield f"Deleting {plan.model} removes:"
    champion = "" if plan.champion is None else f", with the champion, version {plan.champion}"
    yield f"  versions       {_numbers(plan.versions)}{champion}; the ledger keeps their history"
    yield f"  scores         {plan.partitions:,} partition(s), {plan.rows:,} rows"
    yield f"  tables, views  {', '.join(plan.relations) or 'none'}"
    yield f"  staging        {', '.join(plan.staging) or 'none'}"
    yield f"  service        {plan.jobs:,} job(s), {plan.logged:,} logged prediction(s)"
    yield f"  artifacts      {_numbers(plan.artifacts)}, in {plan.artifacts_at}"
    yield f"  files          {', '.join(plan.folders) or 'none'}"


def _numbers(versions: tuple[int, ...]) -> str:
    return ", ".join(str(each) for each in versions) or "none"
