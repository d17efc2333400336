"""What a candidate showed, and what was decided on it."""

from __future__ import annotations

from include.records.base import Record


class Evaluation(Record):
    """Candidate, champion and baseline on the same holdout rows.

    ``champion`` is None when there is no champion, or when it cannot answer these rows;
    ``champion_note`` then says why. ``champion_fence`` is the fence that was in force when they were
    compared: a promotion on this evidence holds only while it still is.
    """

    model: str
    rows: int
    candidate: dict[str, float]
    baseline: dict[str, float]
    champion: dict[str, float] | None = None
    champion_version: int | None = None
    champion_fence: int = 0
    champion_note: str | None = None


class GateResult(Record):
    """One gate's figure, bound and verdict, with a sentence that a person understands."""

    gate: str
    metric: str
    figure: float | None
    bound: float | None
    passed: bool
    sentence: str


class Decision(Record):
    """Whether a candidate may become the champion, and the reasons."""

    accepted: bool
    gates: tuple[GateResult, ...]

    @property
    def reasons(self) -> tuple[str, ...]:
        """The sentences of the gates that said no."""
        return tuple(gate.sentence for gate in self.gates if not gate.passed)


class Rehearsal(Record):
    """What the real service said when it was started on a candidate alone.

    `faults` holds a sentence for each thing that went wrong; a figure that was not reached is None.
    """

    model: str
    artifact_digest: str
    ready: bool
    golden_rows: int
    golden_exact: bool
    malformed_refused: bool
    requests: int
    latency_p50_ms: float | None = None
    latency_p99_ms: float | None = None
    memory_mib: float | None = None
    size_bytes: int
    seconds: float
    faults: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether nothing went wrong."""
        return not self.faults
