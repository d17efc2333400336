"""The evaluation of a candidate, and the decision on it."""

from __future__ import annotations

from pydantic import Field

from include.records.base import Period, Record
from include.records.candidates import ParityReport
from include.records.metrics import DataChecks, Difference, GroupRates, Interval, SliceMetric
from include.records.reproducible import Reproducibility
from include.records.shadow import Divergence


class Evaluation(Record):
    """Candidate, champion and baseline on the same holdout rows.

    ``champion`` is None when there is no champion, or when it cannot predict these rows; ``champion_note`` then has the
    reason. Each predicts by its own features.sql; the ``champion_left_out`` rows that the champion's does not give are
    left out for all. ``champion_sequence`` is the sequence in force at the comparison; a promotion on this evidence
    requires that it is still in force. Fields from `confidence_level` on have defaults, so that versions without them
    can be read.

    Parameters
    ----------
    candidate, baseline, champion : dict of str to float
        The value of each metric; the intervals of the same names are at `confidence_level`.
    differences, baseline_differences : dict of str to Difference
        Candidate less champion, candidate less baseline, paired.
    n_blocks, block_description : int, str
        The number of resampled blocks of time; their length, and the reason if it is not the declared one.
    threshold : float or None
        The probability from which the candidate's F1 counts a row as positive. It was chosen on training rows.
    divergence : Divergence or None
        The distance of its predictions from the champion's; None without a champion that can be compared.
    slices, worst_slices : tuple of SliceMetric
        The declared slices, and the worst ones of all features and pairs of features.
    slices_left_out : int
        Declared slices with too few rows.
    reused_by : tuple of int
        Earlier versions that were evaluated on a holdout that overlaps this one.
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
    champion_left_out: int = 0
    confidence_level: float = 0.95
    n_resamples: int = 0
    n_blocks: int = 0
    block_description: str = ""
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
        """How often the holdout was used before, as a sentence. Each use makes a good result by chance more likely."""
        uses = len(self.reused_by)
        if not uses:
            return "No earlier candidate was evaluated on this holdout."
        versions = ", ".join(map(str, self.reused_by))
        return f"Earlier candidates evaluated on overlapping holdouts: {uses} (version{'s' * (uses > 1)} {versions})."


class GateResult(Record):
    """The result of one gate: the value, its limit, whether it passed, and a sentence with all three."""

    gate: str
    metric: str
    value: float | None
    limit: float | None
    passed: bool
    sentence: str


class Decision(Record):
    """Whether a candidate may become the champion, and the reasons."""

    accepted: bool
    gates: tuple[GateResult, ...]

    @property
    def reasons(self) -> tuple[str, ...]:
        """The sentences of the gates that failed."""
        return tuple(gate.sentence for gate in self.gates if not gate.passed)

    @property
    def failures(self) -> tuple[str, ...]:
        """The name and the sentence of each gate that failed."""
        return tuple(f"{gate.gate}: {gate.sentence}" for gate in self.gates if not gate.passed)


class Rehearsal(Record):
    """The result of starting the real service with only a candidate.

    `faults` holds a sentence for each problem; a value that was not measured is None.
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
        """The result in one line."""
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
    """Everything that a decision depends on.

    Parameters
    ----------
    rehearsal : Rehearsal or None
        None when the candidate was not rehearsed.
    reproducibility : Reproducibility or None
        None when it was trained only once.
    history : tuple of dict
        The metrics of the model's earlier accepted versions, oldest first.
    """

    evaluation: Evaluation
    rehearsal: Rehearsal | None = None
    reproducibility: Reproducibility | None = None
    history: tuple[dict[str, float], ...] = ()
