"""Gates: the decision on a candidate, a function of the evidence alone.

Start with `decide`. Each kind of gate is evaluated in the module of its subject. The import fails if a kind has no
function here.
"""

from __future__ import annotations

from collections.abc import Sequence

from include.evaluation.gates import (  # noqa: F401  # each registers its kinds
    artifact,
    data,
    groups,
    prediction_churn,
    quality,
)
from include.evaluation.gates.artifact import evaluate_rehearsal
from include.evaluation.gates.base import evaluate_gate
from include.records import Decision, Evidence
from include.spec import Gate, OnnxParity, Reproducible

__all__ = ["decide", "evaluate_gate"]

_LACKING = sorted(kind for kind, cls in Gate.kinds.items() if cls not in evaluate_gate.registry)
if _LACKING:
    raise ImportError(f"every kind of gate needs a function in include.evaluation.gates; missing: {_LACKING}")


def decide(evidence: Evidence, policy: Sequence[Gate]) -> Decision:
    """Decide on a candidate: accepted when every gate passes.

    A gate whose value is missing does not pass. Three gates need no declaration: ONNX agrees with scikit-learn; a
    second training, if any, gave the same bytes; the rehearsal, if any, had no fault.
    """
    gates = list(policy)
    declared = {type(gate) for gate in gates}
    if evidence.evaluation.parity is not None and OnnxParity not in declared:
        gates.append(OnnxParity())
    if evidence.reproducibility is not None and Reproducible not in declared:
        gates.append(Reproducible())
    results = [evaluate_gate(gate, evidence) for gate in gates]
    if evidence.rehearsal is not None:
        results.append(evaluate_rehearsal(evidence.rehearsal))
    return Decision(accepted=all(each.passed for each in results), gates=tuple(results))
