"""The metrics that a gate can ask for."""

from __future__ import annotations

from typing import Literal

Metric = Literal[
    "roc_auc", "average_precision", "log_loss", "brier", "ece", "mce", "f1",
    "accuracy", "macro_f1", "micro_f1", "mae", "rmse", "r2", "pinball",
]  # fmt: skip

HIGHER_IS_BETTER: frozenset[str] = frozenset(
    {"roc_auc", "average_precision", "f1", "accuracy", "macro_f1", "micro_f1", "r2"}
)

Judged = Literal["point", "interval"]
"""What a bound is held against: the figure itself, or the bad end of its confidence interval."""
