"""Gates on the artifact: its fidelity to scikit-learn, and its cost in the rehearsal."""

from __future__ import annotations

from include.evaluation.gates.base import evaluate_gate, not_measured, result
from include.records import Evidence, GateResult, Rehearsal
from include.spec import ArtifactSize, Latency, Memory, OnnxParity, Reproducible

NOT_REHEARSED = "the candidate was not rehearsed"


@evaluate_gate.register
def _onnx_parity(gate: OnnxParity, evidence: Evidence) -> GateResult:
    parity, metric = evidence.evaluation.parity, "difference to scikit-learn"
    if parity is None:
        return not_measured(gate.kind, metric, gate.tolerance, "ONNX was not compared with scikit-learn")
    tolerance = parity.tolerance if gate.tolerance is None else gate.tolerance
    return result(
        gate.kind, metric, parity.largest_difference, tolerance,
        passed=parity.model_copy(update={"tolerance": tolerance}).passed,
        found=(
            f"ONNX and scikit-learn on {parity.rows:,} rows ({parity.probes:,} of them probes): largest difference "
            f"{parity.largest_difference:.3g}, changed labels {parity.changed_labels:,}"
            + ("" if parity.batch_exact else ", last bits that depend on the size of the batch")
        ),
        limits=f"limits {tolerance:.3g} and 0",
    )  # fmt: skip


@evaluate_gate.register
def _reproducible(gate: Reproducible, evidence: Evidence) -> GateResult:
    repeated, metric = evidence.reproducibility, "digest"
    if repeated is None:
        return not_measured(gate.kind, metric, None, "the candidate was trained only once")
    outcome = "the same bytes" if repeated.passed else "different bytes; compare the two digests"
    found = f"model.onnx of a second training with the same snapshot, declaration and seed: {outcome}"
    return result(gate.kind, metric, None, None, passed=repeated.passed, found=found)


@evaluate_gate.register
def _artifact_size(gate: ArtifactSize, evidence: Evidence) -> GateResult:
    rehearsal = evidence.rehearsal
    size = None if rehearsal is None else rehearsal.size_bytes / 2**20
    return _within(gate.kind, "artifact size", size, gate.max_mib, "MiB", 1)


@evaluate_gate.register
def _latency(gate: Latency, evidence: Evidence) -> GateResult:
    value = None if evidence.rehearsal is None else evidence.rehearsal.latency_p99_ms
    return _within(gate.kind, "latency p99", value, gate.max_p99_ms, "ms", 1)


@evaluate_gate.register
def _memory(gate: Memory, evidence: Evidence) -> GateResult:
    value = None if evidence.rehearsal is None else evidence.rehearsal.memory_mib
    return _within(gate.kind, "memory of the service", value, gate.max_mib, "MiB", 0)


def evaluate_rehearsal(rehearsal: Rehearsal) -> GateResult:
    """Evaluate the rehearsal as a whole: a gate of every policy if there was a rehearsal."""
    count = len(rehearsal.faults)
    if rehearsal.passed:
        found = f"{rehearsal.golden_rows} golden rows equal bit for bit, {rehearsal.requests:,} requests, no fault"
    else:
        found = f"{'; '.join(fault.rstrip('.') for fault in rehearsal.faults)}"
    return result("rehearsal", "faults", float(count), 0.0, passed=rehearsal.passed, found=found)


def _within(kind: str, metric: str, value: float | None, maximum: float, unit: str, digits: int) -> GateResult:
    if value is None:
        return not_measured(kind, metric, maximum, NOT_REHEARSED)
    return result(
        kind, metric, value, maximum, passed=value <= maximum,
        found=f"{metric}: {value:.{digits}f} {unit}", limits=f"limit {maximum:g} {unit}",
    )  # fmt: skip
