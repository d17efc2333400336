"""From rows to a candidate: snapshot, split by time, fit, export to ONNX, parity."""

from include.training.backend import Backend
from include.training.budget import estimated_mib, require_budget
from include.training.candidate import export_candidate, fit_candidate, read_baseline, require_parity
from include.training.data import TrainingData, read_training_data
from include.training.parity import expected_scores
from include.training.snapshot import write_snapshot
from include.training.split import split_of
from include.training.twice import train_again

__all__ = [
    "Backend",
    "TrainingData",
    "estimated_mib",
    "expected_scores",
    "export_candidate",
    "fit_candidate",
    "read_baseline",
    "read_training_data",
    "require_budget",
    "require_parity",
    "split_of",
    "train_again",
    "write_snapshot",
]
