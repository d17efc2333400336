"""``sluice approve`` and ``sluice shadow``: approval and shadow deployment of a version before it is promoted."""

from __future__ import annotations

import sys
from argparse import Namespace

from include import pipeline
from include.cli import person
from include.models import DeclaredModels
from include.registry import active_hold, assigned_shadow, read_divergences
from include.resources import Resources


def approve(arguments: Namespace, models: DeclaredModels, resources: Resources) -> int:
    """Approve a registered version on its current evidence. The declaration names the approvers."""
    spec, who = models[arguments.model], person.who()
    approval = pipeline.approve_version(spec, arguments.version, who, arguments.comment, resources)
    sys.stdout.write(
        f"Version {approval.version} of {approval.model} is approved by {approval.approver}, for the evidence "
        f"{approval.evidence_digest[:12]}…, until the champion changes or another version is registered.\n"
    )
    if hold := active_hold(resources.engine, arguments.model):
        _say(f"{hold.sentence}: only a person promotes it, by `sluice promote`.")
    return 0


def assign_shadow(arguments: Namespace, models: DeclaredModels, resources: Resources) -> int:
    """Run a version in shadow."""
    spec = models.specs.get(arguments.model)
    pipeline.set_challenger(arguments.model, arguments.version, person.who(), resources, spec)
    _say(f"Version {arguments.version} of {arguments.model} now runs in shadow.")
    return 0


def unset_shadow(arguments: Namespace, _models: DeclaredModels, resources: Resources) -> int:
    """Run no version in shadow."""
    pipeline.set_challenger(arguments.model, None, person.who(), resources)
    _say(f"No version of {arguments.model} runs in shadow any more.")
    return 0


def shadow_status(arguments: Namespace, _models: DeclaredModels, resources: Resources) -> int:
    """Show which version runs in shadow, and its latest measured divergence."""
    _show_divergences(arguments.model, resources)
    return 0


def measure_shadow(arguments: Namespace, models: DeclaredModels, resources: Resources) -> int:
    """Measure the divergence on the requests sampled since the last measurement, and show the status."""
    run_id = f"shell__{resources.clock().isoformat()}"
    if pipeline.shadow_requests(models[arguments.model], run_id, resources) is None:
        _say("Nothing to measure: no version runs in shadow, or too few requests were sampled since the last time.")
    _show_divergences(arguments.model, resources)
    return 0


def _show_divergences(model: str, resources: Resources) -> None:
    version = assigned_shadow(resources.engine, model)
    if version is None:
        _say(f"No version of {model} runs in shadow.")
        return
    found = read_divergences(resources.engine, model, version)
    for each in found:
        _say(each.sentence)
    if not found:
        _say(f"Version {version} of {model} runs in shadow; nothing was measured yet.")


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
