"""What the gate `NoLeakage` says of each public table, with its defaults: ``python -m benchmarks.public_tables``.

The exit status is 1 if it refuses a sound table, or lets one through that has features that tell the target.
"""

from __future__ import annotations

import sys

import numpy as np
import pandas as pd

from benchmarks.public_tables import PublicTable, public_tables
from include.evaluation.data_checks import univariate_strength
from include.evaluation.gates import evaluate_gate
from include.records import DataChecks, Evaluation, Evidence, GateResult
from include.spec import NoLeakage

HOLDOUT_SHARE = 0.2


def judge(table: PublicTable) -> GateResult:
    """Evaluate the gate with the last fifth of the rows as the holdout."""
    matrix = np.column_stack([_numbers(column) for _, column in table.features.items()])
    classes = table.task != "regression"
    truth = pd.factorize(table.target, sort=True)[0] if classes else table.target.to_numpy(dtype=np.float64)
    border = round(len(truth) * (1 - HOLDOUT_SHARE))
    names = tuple(map(str, table.features.columns))
    strengths = univariate_strength(
        table.task, names, (matrix[:border], truth[:border]), (matrix[border:], truth[border:])
    )
    checks = DataChecks(features=names, strengths=strengths)
    evaluation = Evaluation(model=table.name, rows=1, candidate={}, baseline={}, data=checks)
    return evaluate_gate(NoLeakage(), Evidence(evaluation=evaluation))


def _numbers(column: pd.Series) -> np.ndarray:
    if pd.api.types.is_numeric_dtype(column):
        return column.to_numpy(dtype=np.float32)
    codes = pd.factorize(column, sort=True)[0].astype(np.float32)
    return np.where(codes < 0, np.float32(np.nan), codes)


def main() -> int:
    wrong = 0
    print("| table | task | rows | features | | the gate |\n|---|---|--:|--:|---|---|")
    for table in public_tables():
        found = judge(table)
        expected = not table.leaking
        wrong += found.passed != expected
        kind = "sound" if expected else f"leaks: {', '.join(table.leaking)}"
        size = f"{len(table.target):,} | {table.features.shape[1]}"
        print(f"| {table.name} | {table.task} | {size} | {kind} | {found.sentence} |")
    print(f"\n{wrong} of them wrong.")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
