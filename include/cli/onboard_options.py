"""The options of `sluice new` that say where the data are and what they mean. Apart, to be imported in no time."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(new: argparse.ArgumentParser) -> None:
    """Add the options of `sluice new` that say where the data are and what they mean."""
    source = new.add_mutually_exclusive_group()
    source.add_argument("--from-table", metavar="TABLE", help="declare the model of this table or view: schema.table")
    source.add_argument("--from-csv", metavar="FILE", type=Path, help="load this CSV file as source.MODEL first")
    new.add_argument("--task", choices=("binary", "multiclass", "regression"), help="default: by the target's values")
    new.add_argument("--target", metavar="COLUMN", help="column to predict; default: by its name, or the last one")
    new.add_argument("--key", metavar="COLUMNS", help="columns that identify a row, separated by commas")
    new.add_argument("--time", metavar="COLUMN", help="column of the event time; default: by type and name")
    new.add_argument(
        "--time-from-order",
        metavar="START/STEP",
        help="for rows without a time: 2026-01-01/1h gives them times, one after the other; "
        "2026-01-01/1h/shuffled in an order that means nothing",
    )
