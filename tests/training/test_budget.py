"""Training bigger than memory: an error before the work, and an estimate that holds against what was taken."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from include import pipeline
from include.errors import TrainingBudgetError
from include.resources import Resources, open_resources
from include.settings import REPOSITORY, Settings
from include.training import estimate_memory_mib, require_budget
from tests.builders import TODAY, declare_model, load_parcels

MEASURED = """
import json, resource, sys
from datetime import timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa

from include.models import read_spec
from include.training import estimate_memory_mib, fit_candidate, split_by_time, write_snapshot
from tests.builders import TODAY

folder, rows, batch = Path(sys.argv[1]), int(sys.argv[2]), 50_000
spec = read_spec(folder / "parcels" / "spec.py")
origin = np.datetime64((TODAY.replace(hour=0) - timedelta(days=50)).replace(tzinfo=None), "us")


def batches():
    random = np.random.default_rng(1)
    for first in range(0, rows, batch):
        n = np.arange(first, first + batch)
        yield pa.RecordBatch.from_pydict({
            "parcel_id": pa.array([f"p{i:08}" for i in n]),
            "sent_at": pa.array(origin + (n * (50 * 86_400_000_000 // rows)).astype("timedelta64[us]"),
                                pa.timestamp("us", "UTC")),
            "weight": random.uniform(0, 30, batch), "distance": random.uniform(0, 3000, batch),
            "carrier": pa.array(np.array(["ant", "bee", "cat"])[n % 3].tolist()), "fragile": n % 2 == 0,
            "outcome": pa.array(np.array(["on_time", "late"])[random.binomial(1, 0.3, batch)].tolist()),
        })


taken = write_snapshot(batches(), spec, split_by_time(spec, TODAY), folder)
fit_candidate(spec, "run", taken, folder / "run")
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print("REPORT", json.dumps({"peak": peak, "estimate": estimate_memory_mib(spec, rows)}))
"""


def test_what_is_over_budget_stops_before_anything_is_frozen_and_names_the_setting(
    settings: Settings, tmp_path: Path
) -> None:
    spec = declare_model(tmp_path / "models")
    small = settings.model_copy(update={"train_memory_mib": 300})
    with open_resources(small) as resources:
        load_parcels(resources.engine)
        with pytest.raises(TrainingBudgetError, match=r"SLUICE_TRAIN_MEMORY_MIB=300.*2,000 rows of 4 features"):
            pipeline.validate_training_data(spec, "run", TODAY, resources)
        assert not (resources.settings.home / "snapshots").exists()


def test_a_snapshot_over_budget_is_not_read(resources: Resources, tmp_path: Path) -> None:
    spec = declare_model(tmp_path / "models")
    load_parcels(resources.engine)
    taken = pipeline.take_snapshot(spec, TODAY, resources)
    Path(taken.path).unlink()
    huge = taken.model_copy(update={"train_rows": 10**10})
    with pytest.raises(TrainingBudgetError, match="10,000,000,400 rows"):
        pipeline.train_candidate(spec, "run", huge, resources)


def test_the_estimate_grows_with_rows_and_is_said_in_the_error(tmp_path: Path) -> None:
    spec = declare_model(tmp_path / "models")
    assert estimate_memory_mib(spec, 10_000_000) > estimate_memory_mib(spec, 1_000_000) > estimate_memory_mib(spec, 0)
    wanted = estimate_memory_mib(spec, 10_000_000)
    require_budget(spec, 10_000_000, wanted)
    with pytest.raises(TrainingBudgetError, match=f"Set SLUICE_TRAIN_MEMORY_MIB to {wanted} or more"):
        require_budget(spec, 10_000_000, wanted - 1)


@pytest.mark.slow
def test_a_training_of_two_million_rows_stays_within_its_estimate(tmp_path: Path) -> None:
    declare_model(tmp_path)
    command = [sys.executable, "-c", MEASURED, str(tmp_path), "2000000"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout.split("REPORT ")[1])
    assert report["peak"] < report["estimate"]
