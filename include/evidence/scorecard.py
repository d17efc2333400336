"""The ML Test Score: 28 tests in four sections, each proven by evidence, attested by a person, or not proven.

Sources
-------
E. Breck, S. Cai, E. Nielsen, M. Salib, D. Sculley: "The ML Test Score: A Rubric for ML Production Readiness and
Technical Debt Reduction", IEEE Big Data 2017. One point for an automated test, half a point for one that was done by
hand and documented. The score is the minimum of the four sections' sums.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple

from include.evidence.pack import EvidencePack
from include.records import Promotion, Record

Section = Literal["data", "model", "infrastructure", "monitoring"]
SECTIONS: tuple[Section, ...] = ("data", "model", "infrastructure", "monitoring")
AUTOMATED, MANUAL = 1.0, 0.5


class ScoreCardInput(Record):
    """The content of the ledger and the artifact about a model's champion: the only source of proofs.

    Parameters
    ----------
    pack : EvidencePack or None
        The champion's evidence; None when its artifact has none.
    promotions : tuple of Promotion
    validations : dict of str to str
        By purpose (``train``, ``score``): where the newest passed validation is stored. Without one, the key is
        missing.
    """

    model: str
    version: int
    pack: EvidencePack | None
    promotions: tuple[Promotion, ...]
    validations: dict[str, str]


class Item(NamedTuple):
    """One of the 28 tests: its id, its requirement, and the function that finds its proof."""

    id: str
    section: Section
    requirement: str
    proof: Callable[[ScoreCardInput], str | None] | None


class ItemResult(Record):
    """The result of one test: `points` is 1 with evidence, 0.5 with a statement, else 0; `proof` names the evidence."""

    id: str
    section: Section
    requirement: str
    points: float
    proof: str


class ScoreCard(Record):
    """All 28 results, and the score: the minimum of the four sections' sums."""

    model: str
    version: int
    results: tuple[ItemResult, ...]

    @property
    def sums(self) -> dict[Section, float]:
        """The points of each section."""
        return {name: sum(each.points for each in self.results if each.section == name) for name in SECTIONS}

    @property
    def score(self) -> float:
        """The final score."""
        return min(self.sums.values())


def score_card(inputs: ScoreCardInput, attested: Mapping[str, str]) -> ScoreCard:
    """Compute the score from the 28 tests.

    Parameters
    ----------
    attested : mapping of str to str
        The text of the valid statement on each test; the signatures were verified before.
    """
    return ScoreCard(
        model=inputs.model, version=inputs.version, results=tuple(_result(item, inputs, attested) for item in ITEMS)
    )


def _result(item: Item, inputs: ScoreCardInput, attested: Mapping[str, str]) -> ItemResult:
    proof = item.proof(inputs) if item.proof else None
    if proof is not None:
        points = AUTOMATED
    elif item.id in attested:
        points, proof = MANUAL, attested[item.id]
    else:
        points, proof = 0.0, "not shown"
    return ItemResult(id=item.id, section=item.section, requirement=item.requirement, points=points, proof=proof)


def _validated(*purposes: str) -> Callable[[ScoreCardInput], str | None]:
    """Return a function that proves that the data contract was checked for each of these purposes."""

    def proof(inputs: ScoreCardInput) -> str | None:
        found = [inputs.validations[each] for each in purposes if each in inputs.validations]
        return "; ".join(found) if len(found) == len(purposes) else None

    return proof


def _gate(*kinds: str) -> Callable[[ScoreCardInput], str | None]:
    """Return a function that proves that there was a gate of each of these kinds, and that all of them passed."""

    def proof(inputs: ScoreCardInput) -> str | None:
        if inputs.pack is None:
            return None
        found = [gate for gate in inputs.pack.decision.gates if gate.gate in kinds]
        if {gate.gate for gate in found} != set(kinds) or not all(gate.passed for gate in found):
            return None
        return f"evidence.json of version {inputs.version}, gate {found[0].gate}: {found[0].sentence}"

    return proof


def _beats_the_baseline(inputs: ScoreCardInput) -> str | None:
    """Return a proof only if no gate allows the candidate to be worse than the baseline."""
    gates = inputs.pack.declaration.gates if inputs.pack else ()
    margins = [each.get("margin", 0) for each in gates if each["kind"] == "better_than_baseline"]
    return _gate("better_than_baseline")(inputs) if min(margins, default=0) >= 0 else None


def _any_gate(*kinds: str) -> Callable[[ScoreCardInput], str | None]:
    proofs = [_gate(kind) for kind in kinds]
    return lambda inputs: next((found for proof in proofs if (found := proof(inputs))), None)


def _every_feature_helps(inputs: ScoreCardInput) -> str | None:
    card = inputs.pack.card if inputs.pack else None
    if inputs.pack is None or card is None:
        return None
    helpful = {each.feature for each in card.importances if each.mean > 2 * each.spread}
    if {each.name for each in inputs.pack.declaration.features} - helpful:
        return None
    return (
        f"evidence.json of version {inputs.version}, card.importances: each of {len(helpful)} features lowers the loss"
    )


def _reproducible(inputs: ScoreCardInput) -> str | None:
    found = inputs.pack.reproducibility if inputs.pack else None
    if found is None or not found.passed:
        return None
    return f"evidence.json of version {inputs.version}, reproducibility: {found.second_digest[:12]}… twice"


def _decided(inputs: ScoreCardInput) -> str | None:
    if inputs.pack is None or not inputs.pack.decision.accepted:
        return None
    gates = len(inputs.pack.decision.gates)
    return f"evidence.json of version {inputs.version}, decision: {gates} gates passed before the promotion"


def _rehearsed(inputs: ScoreCardInput) -> str | None:
    found = inputs.pack.rehearsal if inputs.pack else None
    if found is None or not found.passed:
        return None
    rows = found.golden_rows
    return f"evidence.json of version {inputs.version}, rehearsal: the real service answered {rows} golden rows"


def _rolled_back(inputs: ScoreCardInput) -> str | None:
    for each in reversed(inputs.promotions):
        if each.from_version is not None and each.to_version < each.from_version:
            return (
                f"sluice.promotion, sequence {each.sequence}: rolled back to version {each.to_version} by {each.actor}"
            )
    return None


def _same_features(inputs: ScoreCardInput) -> str | None:
    data = inputs.pack.evaluation.data if inputs.pack else None
    if data is None or data.served_rows == 0 or data.served_differences:
        return None
    return f"evidence.json of version {inputs.version}, evaluation.data: {data.served_rows:,} rows the same as served"


def _stable(inputs: ScoreCardInput) -> str | None:
    if inputs.pack is None or not inputs.pack.parity.passed:
        return None
    parity = inputs.pack.parity
    return (
        f"evidence.json of version {inputs.version}, parity: single precision within "
        f"{parity.largest_difference:.2g} of double on {parity.rows:,} rows"
    )


ITEMS: tuple[Item, ...] = (
    Item("data-1", "data", "Feature expectations are captured in a schema", _validated("train")),
    Item("data-2", "data", "All features are beneficial", _every_feature_helps),
    Item("data-3", "data", "No feature's cost is too much", None),
    Item("data-4", "data", "Features adhere to meta-level requirements", _gate("forbidden_columns")),
    Item("data-5", "data", "The data pipeline has appropriate privacy controls", None),
    Item("data-6", "data", "New features can be added quickly", None),
    Item("data-7", "data", "All input feature code is tested", None),
    Item("model-1", "model", "Model specs are reviewed and submitted", None),
    Item("model-2", "model", "Offline and online metrics correlate", None),
    Item("model-3", "model", "All hyperparameters have been tuned", None),
    Item("model-4", "model", "The impact of model staleness is known", None),
    Item("model-5", "model", "A simpler model is not better", _beats_the_baseline),
    Item(
        "model-6",
        "model",
        "Quality is sufficient on important slices",
        _any_gate("slice_threshold", "no_inferior_slice"),
    ),
    Item("model-7", "model", "The model is tested for considerations of inclusion", _gate("fairness_gap")),
    Item("infrastructure-1", "infrastructure", "Training is reproducible", _reproducible),
    Item("infrastructure-2", "infrastructure", "Model specs are unit tested", None),
    Item("infrastructure-3", "infrastructure", "The ML pipeline is integration tested", None),
    Item("infrastructure-4", "infrastructure", "Model quality is validated before serving", _decided),
    Item("infrastructure-5", "infrastructure", "The model can be debugged step by step on one example", None),
    Item("infrastructure-6", "infrastructure", "Models are canaried before they serve", _rehearsed),
    Item("infrastructure-7", "infrastructure", "Serving models can be rolled back", _rolled_back),
    Item("monitoring-1", "monitoring", "Dependency changes result in notification", None),
    Item(
        "monitoring-2",
        "monitoring",
        "Data invariants hold in training and serving inputs",
        _validated("train", "score"),
    ),
    Item("monitoring-3", "monitoring", "Training and serving are not skewed", _same_features),
    Item("monitoring-4", "monitoring", "Models are not too stale", None),
    Item("monitoring-5", "monitoring", "The model is numerically stable", _stable),
    Item("monitoring-6", "monitoring", "No regression in latency, throughput or memory", _gate("latency", "memory")),
    Item("monitoring-7", "monitoring", "No regression in prediction quality on served data", None),
)
