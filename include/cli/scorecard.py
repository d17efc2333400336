"""``sluice ml-test-score`` and ``sluice attest``: the ML Test Score, and manual statements for it."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Iterable, Iterator

from include import pipeline
from include.cli import person
from include.cli.output import show
from include.evidence.scorecard import SECTIONS, ScoreCard
from include.models import DeclaredModels
from include.resources import Resources


def show_score(arguments: Namespace, _models: DeclaredModels, resources: Resources) -> int:
    """Print each of the 28 tests with its proof, the sum of each section, and the score."""
    card, faults = pipeline.ml_test_score(arguments.model, resources)
    computed = {**card.to_plain(), "sums": card.sums, "score": card.score, "not_counted": faults}
    show(arguments, computed, _score_lines(card, faults))
    return 0


def _score_lines(card: ScoreCard, faults: Iterable[str]) -> Iterator[str]:
    yield f"ML Test Score of {card.model}, champion version {card.version}"
    for section in SECTIONS:
        yield f"\n{section}: {card.sums[section]:g} of 7"
        for each in card.results:
            if each.section == section:
                yield f"  {each.points:3.1f}  {each.id:<17} {each.requirement}"
                yield f"       {'':<17} {each.proof}"
    for fault in faults:
        yield f"\nnot counted: {fault}"
    yield f"\nScore: {card.score:g}, the minimum of the four sums."


def attest(arguments: Namespace, models: DeclaredModels, resources: Resources) -> int:
    """Sign and store a statement on one test."""
    spec = models[arguments.model]
    attestation = pipeline.attest(spec.name, arguments.test, arguments.statement, person.who(), resources)
    sys.stdout.write(
        f"Signed and stored: {attestation.test} of {attestation.model}, {attestation.attested_at:%Y-%m-%d %H:%M} UTC, "
        f"{attestation.actor}: {attestation.statement}\n"
    )
    return 0
