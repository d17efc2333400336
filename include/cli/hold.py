"""``sluice hold``: promotions of a model by a retrain are held, or no longer."""

from __future__ import annotations

import sys
from argparse import Namespace

from include import pipeline
from include.cli import person
from include.models import DeclaredModels
from include.resources import Resources


def hold(arguments: Namespace, models: DeclaredModels, resources: Resources) -> int:
    """Hold the promotions of a model, or with ``--lift`` lift the hold."""
    model, who = arguments.model, person.who()
    if arguments.lift:
        lifted = pipeline.release_hold(model, who, arguments.reason, resources, models)
        _say(f"The hold of {model} by {lifted.actor} is lifted: the next retrain promotes what the gates accept.")
        _say(f"What was registered meanwhile is not promoted: `sluice versions {model}` lists it.")
        return 0
    made = pipeline.hold_promotions(model, who, arguments.reason, resources, models, arguments.until)
    _say(f"{made.sentence}.")
    _say(
        f"Retrains register and judge versions, and promote none. `sluice promote {model} N --reason ...` still works."
    )
    return 0


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
