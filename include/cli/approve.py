"""``sluice approve``: a person says yes to a version, for another to promote."""

from __future__ import annotations

import getpass
import sys
from argparse import Namespace

from include import pipeline
from include.models import DeclaredModels
from include.resources import Resources


def approve(arguments: Namespace, models: DeclaredModels, resources: Resources) -> int:
    """Approve a registered version as things stand now; the declaration says who may."""
    spec, who = models[arguments.model], getpass.getuser()
    said = pipeline.approve_version(spec, arguments.version, who, arguments.comment, resources)
    sys.stdout.write(
        f"Version {said.version} of {said.model} is approved by {said.approver}, for the evidence "
        f"{said.evidence_digest[:12]}…, until the champion moves or another version is registered.\n"
    )
    return 0


def shadow(arguments: Namespace, _models: DeclaredModels, resources: Resources) -> int:
    """Have a version score in the shadow of the champion, or none."""
    version = None if arguments.version == "off" else int(arguments.version)
    pipeline.choose_shadow(arguments.model, version, getpass.getuser(), resources)
    who = "no version" if version is None else f"version {version}"
    sys.stdout.write(f"From now on {who} of {arguments.model} scores in the shadow of the champion.\n")
    return 0
