"""Gates: evidence in, a decision out. Deciding is a function of its inputs alone.

Read `decide`; each kind of gate is weighed in the module of its subject.
"""

from __future__ import annotations

from collections.abc import Sequence

from include.evaluation.gates import artifact, data, groups, prediction_churn, quality
from include.evaluation.gates.artifact import weigh_rehearsal
from include.evaluation.gates.base import weigh
from include.records import Decision, Evidence
from include.spec import Gate, OnnxParity, Reproducible

__all__ = ["decide"]


def decide(evidence: Evidence, policy: Sequence[Gate]) -> Decision:
    """Weigh a candidate: accepted when every gate lets it through.

    A gate whose figure is missing does not let it through: what was not measured was not passed. Three
    gates need no declaration: ONNX answers as scikit-learn does; training again gave the same bytes, and
    nothing went wrong in the rehearsal, when there was such a thing.
    """
    gates = list(policy)
    held = {type(gate) for gate in gates}
    if evidence.evaluation.parity is not None and OnnxParity not in held:
        gates.append(OnnxParity())
    if evidence.reproducibility is not None and Reproducible not in held:
        gates.append(Reproducible())
    results = [weigh(gate, evidence) for gate in gates]
    if evidence.rehearsal is not None:
        results.append(weigh_rehearsal(evidence.rehearsal))
    return Decision(accepted=all(result.passed for result in results), gates=tuple(results))
