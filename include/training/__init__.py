"""From rows to a candidate: snapshot, split by time, fit, export to ONNX, parity."""

from include.training.backend import Backend
from include.training.budget import estimate_memory_mib, require_budget
from include.training.candidate import export_candidate, fit_candidate, read_baseline, require_parity
from include.training.data import TrainingData, read_training_data
from include.training.onnx_parity import expected_scores
from include.training.reproducibility import train_again
from include.training.snapshot import split_by_time, write_snapshot

__all__ = [
    "Backend",
    "TrainingData",
    "estimate_memory_mib",
    "expected_scores",
    "export_candidate",
    "fit_candidate",
    "read_baseline",
    "read_training_data",
    "require_budget",
    "require_parity",
    "split_by_time",
    "train_again",
    "write_snapshot",
]
