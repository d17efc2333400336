"""Gates on what will be served: its faith to scikit-learn, and what it costs in the rehearsal."""

from __future__ import annotations

from include.evaluation.gates.base import not_measured, verdict, weigh
from include.records import Evidence, GateResult, Rehearsal
from include.spec import ArtifactSize, Latency, Memory, OnnxParity, Reproducible

NOT_REHEARSED = "the candidate was not rehearsed"


@weigh.register
def _faithful_export(gate: OnnxParity, evidence: Evidence) -> GateResult:
    parity, metric = evidence.evaluation.parity, "difference to scikit-learn"
    if parity is None:
        return not_measured(gate.kind, metric, gate.difference, "ONNX was not compared with scikit-learn")
    allowed = parity.tolerance if gate.difference is None else gate.difference
    sentence = (
        f"ONNX differs from scikit-learn by up to {parity.largest_difference:.3g} on {parity.rows:,} rows and changes "
        f"{parity.changed_labels:,} label(s); up to {allowed:.3g} and no label are allowed."
    )
    passed = parity.largest_difference <= allowed and parity.changed_labels == 0
    return verdict(gate.kind, metric, parity.largest_difference, allowed, passed=passed, sentence=sentence)


@weigh.register
def _reproducible(gate: Reproducible, evidence: Evidence) -> GateResult:
    twice, metric = evidence.reproducibility, "digest"
    if twice is None:
        once = "The candidate was trained once only, so that two trainings give the same bytes was not shown."
        return verdict(gate.kind, metric, None, None, passed=False, sentence=once)
    outcome = "the same model.onnx, byte for byte" if twice.passed else "another model.onnx: see its two digests"
    sentence = f"Training again on the same snapshot, declaration and seed gave {outcome}."
    return verdict(gate.kind, metric, None, None, passed=twice.passed, sentence=sentence)


@weigh.register
def _artifact_size(gate: ArtifactSize, evidence: Evidence) -> GateResult:
    rehearsal = evidence.rehearsal
    size = None if rehearsal is None else rehearsal.size_bytes / 2**20
    return _within(gate.kind, "size", size, gate.mib, "MiB", "The artifact is {:.1f} MiB large")


@weigh.register
def _latency(gate: Latency, evidence: Evidence) -> GateResult:
    figure = None if evidence.rehearsal is None else evidence.rehearsal.latency_p99_ms
    return _within(gate.kind, "latency p99", figure, gate.p99_ms, "ms", "99 of 100 answers came within {:.1f} ms")


@weigh.register
def _memory(gate: Memory, evidence: Evidence) -> GateResult:
    figure = None if evidence.rehearsal is None else evidence.rehearsal.memory_mib
    return _within(gate.kind, "memory", figure, gate.mib, "MiB", "The service needed {:.0f} MiB of memory")


def weigh_rehearsal(rehearsal: Rehearsal) -> GateResult:
    """Weigh whether anything went wrong in the rehearsal: a gate that every policy holds when there was one."""
    if rehearsal.passed:
        sentence = (
            f"The service was rehearsed with the candidate: {rehearsal.golden_rows} golden rows bit for bit, "
            f"{rehearsal.requests:,} requests, nothing went wrong."
        )
    else:
        sentence = f"The rehearsal failed: {'; '.join(fault.rstrip('.') for fault in rehearsal.faults)}."
    count = float(len(rehearsal.faults))
    return verdict("rehearsal", "faults", count, 0.0, passed=rehearsal.passed, sentence=sentence)


def _within(kind: str, metric: str, figure: float | None, bound: float, unit: str, told: str) -> GateResult:
    if figure is None:
        return not_measured(kind, metric, bound, NOT_REHEARSED)
    sentence = f"{told.format(figure)}; at most {bound:g} {unit} are allowed."
    return verdict(kind, metric, figure, bound, passed=figure <= bound, sentence=sentence)
