"""What a candidate showed, and what was decided on it."""

from __future__ import annotations

from pydantic import Field

from include.records.base import Period, Record
from include.records.candidates import ParityReport
from include.records.metrics import DataChecks, Difference, GroupRates, Interval, SliceMetric
from include.records.reproducible import Reproducibility
from include.records.shadow import Divergence


class Evaluation(Record):
    """Candidate, champion and baseline on the same holdout rows.

    ``champion`` is None when there is no champion, or when it cannot answer these rows;
    ``champion_note`` then says why. ``champion_sequence`` is the sequence that was in force when they were
    compared: a promotion on this evidence holds only while it still is. Everything from `level` on
    has a default.

    Parameters
    ----------
    candidate, baseline, champion : dict of str to float
        Each metric as measured; the intervals of the same names are at `level`.
    differences, baseline_differences : dict of str to Difference
        Candidate less champion, candidate less baseline, paired.
    blocks, block : int, str
        How many stretches of time were resampled, how long each is, and why, if not as declared.
    threshold : float or None
        From which probability on the candidate's F1 counts a row as positive; chosen on training rows.
    divergence : Divergence or None
        How far its answers are from the champion's; None when there is none, or it cannot answer.
    slices, worst_slices : tuple of SliceMetric
        As declared; and found by looking at all features and pairs of them.
    slices_left_out : int
        Declared slices with too few rows.
    reused_by : tuple of int
        Versions registered before that were judged on a holdout that overlaps this one.
    card_digest : str or None
        SHA-256 of the file with the card's curves, in the run's folder.
    """

    model: str
    rows: int
    candidate: dict[str, float]
    baseline: dict[str, float]
    champion: dict[str, float] | None = None
    champion_version: int | None = None
    champion_sequence: int = 0
    champion_note: str | None = None
    level: float = 0.95
    resamples: int = 0
    blocks: int = 0
    block: str = ""
    intervals: dict[str, Interval] = Field(default_factory=dict)
    baseline_intervals: dict[str, Interval] = Field(default_factory=dict)
    champion_intervals: dict[str, Interval] = Field(default_factory=dict)
    differences: dict[str, Difference] = Field(default_factory=dict)
    baseline_differences: dict[str, Difference] = Field(default_factory=dict)
    divergence: Divergence | None = None
    threshold: float | None = None
    class_rows: dict[str, int] = Field(default_factory=dict)
    slices: tuple[SliceMetric, ...] = ()
    worst_slices: tuple[SliceMetric, ...] = ()
    slices_left_out: int = 0
    groups: tuple[GroupRates, ...] = ()
    train: Period | None = None
    holdout: Period | None = None
    reused_by: tuple[int, ...] = ()
    parity: ParityReport | None = None
    data: DataChecks | None = None
    seconds: float | None = None
    card_digest: str | None = None

    @property
    def reuse(self) -> str:
        """How often the holdout was looked at before, as a sentence: each look makes luck likelier."""
        looks = len(self.reused_by)
        if not looks:
            return "Nobody was judged before on days of this holdout."
        versions = ", ".join(map(str, self.reused_by))
        return f"This holdout overlaps those that judged version{'s' * (looks > 1)} {versions}: {looks} look(s) before."


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
    onnx_digest: str | None = None
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

    @property
    def sentence(self) -> str:
        """What happened, in a line."""
        if not self.ready:
            return f"not ready: {self.faults[0] if self.faults else 'the service did not say why'}"
        golden = "bit for bit" if self.golden_exact else "NOT as at training"
        refusing = "refused" if self.malformed_refused else "NOT refused"
        p99 = "not measured" if self.latency_p99_ms is None else f"{self.latency_p99_ms:.1f} ms"
        memory = "not measured" if self.memory_mib is None else f"{self.memory_mib:.0f} MiB"
        return (
            f"{self.golden_rows} golden rows answered {golden}; malformed requests {refusing}; p99 {p99} over "
            f"{self.requests} requests; {memory} a worker; {self.size_bytes / 2**20:.2f} MiB on disk; "
            f"{self.seconds:.1f} s in all"
        )


class Evidence(Record):
    """All that a decision is made of.

    Parameters
    ----------
    rehearsal : Rehearsal or None
        None when the candidate was not rehearsed.
    reproducibility : Reproducibility or None
        None when it was trained once only.
    history : tuple of dict
        The metrics of the model's accepted versions before, oldest first.
    """

    evaluation: Evaluation
    rehearsal: Rehearsal | None = None
    reproducibility: Reproducibility | None = None
    history: tuple[dict[str, float], ...] = ()
