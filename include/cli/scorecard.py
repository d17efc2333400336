"""``sluice ml-test-score`` and ``sluice attest``: the ML Test Score, and manual statements for it."""

from __future__ import annotations

import sys
from argparse import Namespace

from include import pipeline
from include.cli import person
from include.evidence.scorecard import SECTIONS
from include.models import DeclaredModels
from include.resources import Resources


def show(arguments: Namespace, _models: DeclaredModels, resources: Resources) -> int:
    """Print each of the 28 tests with its proof, the sum of each section, and the score."""
    card, faults = pipeline.ml_test_score(arguments.model, resources)
    _say(f"ML Test Score of {card.model}, champion version {card.version}")
    for section in SECTIONS:
        _say(f"\n{section}: {card.sums[section]:g} of 7")
        for each in card.results:
            if each.section == section:
                _say(f"  {each.points:3.1f}  {each.id:<17} {each.requirement}")
                _say(f"       {'':<17} {each.proof}")
    for fault in faults:
        _say(f"\nnot counted: {fault}")
    _say(f"\nScore: {card.score:g}, the minimum of the four sums.")
    return 0


def attest(arguments: Namespace, models: DeclaredModels, resources: Resources) -> int:
    """Sign and store a statement on one test."""
    spec = models[arguments.model]
    attestation = pipeline.attest(spec.name, arguments.test, arguments.statement, person.who(), resources)
    _say(
        f"Signed and stored: {attestation.test} of {attestation.model}, {attestation.attested_at:%Y-%m-%d %H:%M} UTC, "
        f"{attestation.actor}: {attestation.statement}"
    )
    return 0


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
