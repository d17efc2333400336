"""`sluice plan`: print what an edit of a declaration means before it is live."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator
from textwrap import indent
from typing import Any

from include import pipeline
from include.cli import exit_status
from include.cli.output import show
from include.models import DeclaredModels
from include.records import ChangeClass, ChangePlan, DeclarationChange
from include.resources import Resources

_CLASS_NAMES: dict[ChangeClass, str] = {
    "compatible": "compatible",
    "needs_retrain": "needs a retrain",
    "needs_backfill": "needs a backfill",
    "breaks_readers": "breaks readers",
}


def plan(arguments: Namespace, models: DeclaredModels, resources: Resources) -> int:
    """Print the plan of a change; the exit status says whether it breaks something."""
    found = pipeline.plan_changes(models[arguments.model], resources)
    show(arguments, _plain(found), _lines(found))
    return exit_status.BREAKING if found.breaks else 0


def _plain(plan: ChangePlan) -> dict[str, Any]:
    verdict = {"classes": plan.classes, "stops_scoring": plan.stops_scoring, "breaks": plan.breaks}
    return plan.to_plain() | verdict


def _lines(plan: ChangePlan) -> Iterator[str]:
    if plan.version is None:
        yield f"{plan.model}: no champion yet, so there is nothing to compare with. `sluice train {plan.model}`."
    elif not plan.changes:
        yield f"{plan.model}: nothing differs from the declaration of the champion, version {plan.version}."
    else:
        count = len(plan.changes)
        since = f"since the declaration of the champion, version {plan.version}"
        yield f"{plan.model}: {count} change{'s' * (count > 1)} {since}"
        for change in plan.changes:
            yield ""
            yield from _change_lines(change)
    yield from _touched_lines(plan)
    if plan.changes:
        yield ""
        yield f"{plan.model}: {', '.join(_CLASS_NAMES[each] for each in plan.classes)}." + _verdict(plan)


def _change_lines(change: DeclarationChange) -> Iterator[str]:
    before, after = ("none" if each is None else each for each in (change.before, change.after))
    if "\n" in before + after or len(before) + len(after) > 90:
        yield f"{change.field}"
        yield indent(before, "  - ", lambda _: True)
        yield indent(after, "  + ", lambda _: True)
    else:
        yield f"{change.field}: {before} -> {after}"
    for effect in change.effects:
        yield f"  {_CLASS_NAMES[effect.change_class]}: {effect.reason}"
        if effect.next_step:
            yield f"    next: {effect.next_step}"


def _touched_lines(plan: ChangePlan) -> Iterator[str]:
    touched = [
        f"  version {each.version} ({each.role}) can neither score nor be promoted: {'; '.join(each.obstacles)}"
        for each in plan.versions
        if each.obstacles
    ]
    if plan.partitions is not None:
        first, last = (f"{each:%Y-%m-%d %H:%M}" for each in (plan.partitions.first, plan.partitions.last))
        touched.append(f"  {plan.partitions.count:,} published partition(s), from {first} to {last} UTC")
    touched += [f"  {name}" for name in (*plan.relations, *plan.dags)]
    if touched:
        yield from ("", "Touched:", *touched)
    if plan.obstacles:
        yield from ("", "A version of this declaration cannot be trained:", *(f"  {each}" for each in plan.obstacles))
    if plan.warnings:
        yield from ("", "Mind:", *(f"  {each}" for each in plan.warnings))


def _verdict(plan: ChangePlan) -> str:
    if plan.stops_scoring:
        return (
            f" Version {plan.version} scores no partition until a version of this declaration is promoted; the service "
            "goes on answering with it."
        )
    return ""
