"""What the gate `NoLeakage` says of each public table, with its defaults: ``python -m benchmarks.public_tables``.

The exit status is 1 if it refuses a sound table, or lets one through that has features that tell the target.
"""

from __future__ import annotations

import sys

import numpy as np
import pandas as pd

from benchmarks.public_tables import PublicTable, public_tables
from benchmarks.public_tables.leakage import judge
from include.records import GateResult


def judged(table: PublicTable) -> GateResult:
    """Return what the gate says of a table."""
    classes = table.task != "regression"
    target = pd.factorize(table.target, sort=True)[0] if classes else table.target
    return judge(table.task, {str(name): _numbers(column) for name, column in table.features.items()}, target)


def _numbers(column: pd.Series) -> np.ndarray:
    if pd.api.types.is_numeric_dtype(column):
        return column.to_numpy(dtype=np.float32)
    codes = pd.factorize(column, sort=True)[0].astype(np.float32)
    return np.where(codes < 0, np.float32(np.nan), codes)


def main() -> int:
    wrong = 0
    print("| table | task | rows | features | | the gate |\n|---|---|--:|--:|---|---|")
    for table in public_tables():
        found = judged(table)
        expected = not table.leaking
        wrong += found.passed != expected
        kind = "sound" if expected else f"leaks: {', '.join(table.leaking)}"
        size = f"{len(table.target):,} | {table.features.shape[1]}"
        print(f"| {table.name} | {table.task} | {size} | {kind} | {found.sentence} |")
    print(f"\n{wrong} of them wrong.")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
