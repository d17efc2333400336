"""``sluice approve`` and ``sluice shadow``: what a person says and sees of a version before it is promoted."""

from __future__ import annotations

import sys
from argparse import Namespace

from include import pipeline
from include.cli import person
from include.models import DeclaredModels
from include.registry import assigned_shadow
from include.resources import Resources


def approve(arguments: Namespace, models: DeclaredModels, resources: Resources) -> int:
    """Approve a registered version as things stand now; the declaration says who may."""
    spec, who = models[arguments.model], person.who()
    said = pipeline.approve_version(spec, arguments.version, who, arguments.comment, resources)
    sys.stdout.write(
        f"Version {said.version} of {said.model} is approved by {said.approver}, for the evidence "
        f"{said.evidence_digest[:12]}…, until the champion moves or another version is registered.\n"
    )
    return 0


def shadow(arguments: Namespace, models: DeclaredModels, resources: Resources) -> int:
    """Have a version score in the shadow of the champion, or none; with no version, tell how far it is."""
    model, chosen = arguments.model, arguments.version
    if chosen is not None:
        version = None if chosen == "off" else int(chosen)
        pipeline.set_challenger(model, version, person.who(), resources)
        who = "no version" if version is None else f"version {version}"
        _say(f"From now on {who} of {model} scores in the shadow of the champion.")
    if arguments.now:
        run_id = f"shell__{resources.clock().isoformat()}"
        if pipeline.shadow_requests(models[model], run_id, resources) is None:
            _say("Nothing was measured now: no challenger, or too few requests sampled since the last look.")
    if arguments.now or chosen is None:
        _tell_divergences(model, resources)
    return 0


def _tell_divergences(model: str, resources: Resources) -> None:
    version = assigned_shadow(resources.engine, model)
    if version is None:
        _say(f"No version of {model} scores in the shadow.")
        return
    found = pipeline.latest_divergences(model, version, resources)
    for each in found:
        _say(each.sentence)
    if not found:
        _say(f"Version {version} of {model} scores in the shadow; nothing was measured yet.")


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
