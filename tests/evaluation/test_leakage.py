"""The gate against leakage, with its defaults: sound tables pass, whatever drifts in them; what leaks is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine

from benchmarks.public_tables.leakage import HOLDOUT_SHARE, judge
from include.spec import Task
from include.warehouse.sample_flights import WEATHER, open_file


def weather(without: tuple[str, ...] = ()) -> tuple[dict[str, Any], Any]:
    """Return a year of weather by the hour, and its temperature: with a season, and a day whose shape changes."""
    with open_file(WEATHER) as file:
        rows = pd.read_csv(file).dropna(subset=["temp"]).sort_values("time_hour", kind="stable")
    rows["origin"] = pd.factorize(rows["origin"])[0]
    target = rows.pop("temp")
    return {name: rows[name] for name in rows.columns.difference([*without, "time_hour", "year"])}, target


@pytest.mark.parametrize("without", [(), ("dewp", "month")])
def test_a_season_of_the_target_is_no_leakage(without: tuple[str, ...]) -> None:
    features, target = weather(without)
    found = judge("regression", features, target)
    assert found.passed, found.sentence


def test_the_target_itself_with_some_noise_leaks_through_every_season() -> None:
    features, target = weather()
    noisy = target + np.random.default_rng(0).normal(0, 1, len(target))
    found = judge("regression", {**features, "measured_afterwards": noisy}, target)
    assert not found.passed
    assert "strength of single features: measured_afterwards 0.99" in found.sentence


def test_what_is_filled_in_after_the_event_is_a_drop() -> None:
    features, target = weather()
    written = np.where(np.arange(len(target)) < len(target) * (1 - HOLDOUT_SHARE), target, np.nan)
    noise = np.random.default_rng(0).normal(0, 8, len(target))
    found = judge("regression", {**features, "written_late": written + noise}, target)
    assert not found.passed
    assert "strength of written_late: at least 0." in found.sentence
    assert "the feature may be written or corrected after the event" in found.sentence


@pytest.mark.parametrize("load", [load_breast_cancer, load_wine, load_diabetes])
def test_strong_honest_features_of_small_tables_pass(load: Any) -> None:
    table = load(as_frame=True).frame.sample(frac=1, random_state=1)
    target = table.pop("target")
    task: Task = {2: "binary", 3: "multiclass"}.get(target.nunique(), "regression")  # type: ignore[assignment]
    found = judge(task, dict(table.items()), target)
    assert found.passed, found.sentence


@given(
    seed=st.integers(0, 2**32 - 1),
    task=st.sampled_from(["binary", "regression"]),
    rows=st.integers(200, 3_000),
    trend=st.floats(-20, 20),
    season=st.floats(0, 10),
)
def test_noise_is_never_a_leak_however_the_target_drifts(
    seed: int, task: Task, rows: int, trend: float, season: float
) -> None:
    draw = np.random.default_rng(seed)
    time = np.linspace(0, 1, rows)
    level = trend * time + season * np.sin(2 * np.pi * time) + draw.normal(size=rows)
    target = level > np.median(level) if task == "binary" else level
    if task == "binary" and len(np.unique(target)) < 2:
        return
    features = {
        "noise": draw.normal(size=rows),
        "coin": draw.integers(0, 2, rows),
        "spike": draw.exponential(size=rows) ** 3,
    }
    found = judge(task, features, target)
    assert found.passed, found.sentence


@given(seed=st.integers(0, 2**32 - 1), task=st.sampled_from(["binary", "regression"]), trend=st.floats(-20, 20))
def test_a_copy_of_the_target_is_always_a_leak(seed: int, task: Task, trend: float) -> None:
    draw = np.random.default_rng(seed)
    level = draw.normal(size=2_000) + (0 if task == "regression" else trend * np.linspace(-0.05, 0.05, 2_000))
    target = level > 0 if task == "binary" else level
    found = judge(task, {"noise": draw.normal(size=2_000), "copy": target * 3.0 + 1}, target)
    assert not found.passed
    assert "copy" in found.sentence
