"""The memory that a training needs, estimated and checked before it starts."""

from __future__ import annotations

from include.errors import TrainingBudgetError
from include.spec import ModelSpec

MATRIX_BYTES = 4  # single precision, what every estimator is given
COPY_BYTES = 8  # most estimators copy it once, at most to double precision
# Label, times, masks, a column as it was read, the copy that the threshold is chosen with, scikit-learn's own.
ROW_BYTES = 192
BASE_MIB = 400  # the interpreter with scikit-learn, Arrow and ONNX


def estimate_memory_mib(spec: ModelSpec, rows: int) -> int:
    """Return how many MiB a training on `rows` rows, holdout included, will take; an upper estimate.

    It is ``rows x (features x (4 + 8) + 192) bytes`` plus the loaded libraries. tests/training/test_budget.py
    compares it with the memory that a process used.
    """
    return BASE_MIB + rows * (len(spec.features) * (MATRIX_BYTES + COPY_BYTES) + ROW_BYTES) // 2**20


def require_budget(spec: ModelSpec, rows: int, budget_mib: int) -> None:
    """Require that a training on `rows` rows fits the budget.

    Raises
    ------
    TrainingBudgetError
        Naming the setting.
    """
    wanted = estimate_memory_mib(spec, rows)
    if wanted > budget_mib:
        raise TrainingBudgetError(spec.name, rows, len(spec.features), wanted, budget_mib)
