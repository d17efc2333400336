"""How long it takes to judge a candidate: 60,000 rows, every metric of three models with intervals, slices, facts.

    .venv/bin/python benchmarks/evaluation.py [--rounds 3] [--no-write]

It trains flight_delay twice (the second time as a smaller champion) in a home of its own, with a holdout of
60,000 rows, and times `include.evaluation.evaluate`. In the same run, the usual way is timed beside it: a loop
that draws days, and asks scikit-learn for each metric of each model again. That one is so slow that it is
timed on a few resamples and multiplied.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from evaluation_peers import DOCUMENT, REPOSITORY, machine, write_between_markers

from include import evaluation, pipeline, training
from include.evaluation import measure
from include.evaluation.blocks import blocks_of
from include.evaluation.comparison import event_times
from include.inference import load_scorer
from include.inference.batch import encode_batch
from include.models import declared_models
from include.provenance import VerifiedFiles
from include.records import Promotion
from include.resources import Resources
from include.settings import Settings
from include.spec import Columns, ModelSpec, Slice, TrainingWindow
from include.warehouse.samples import load_samples

HOME = REPOSITORY / ".sluice" / "bench-evaluation"
WINDOW = TrainingWindow(train=timedelta(days=225), holdout=timedelta(days=75))
ROWS = 60_000
LOOPED = 5
MOST_SECONDS = 10.0
SHARE_OF_TRAINING = 0.2


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--no-write", action="store_true", help="leave docs/performance.md as it is")
    asked = parser.parse_args()
    busy = os.getloadavg()[0]
    with pipeline.open_resources(Settings(home=HOME)) as resources:
        spec, judged, scorers, train_seconds = prepared(resources)
    promotion = Promotion(
        model=spec.name, sequence=1, from_version=None, to_version=1, actor="bench", reason="bench",
        evidence_digest="", promoted_at=datetime.now(UTC),
    )  # fmt: skip
    ours = []
    for _ in range(asked.rounds):
        started = time.monotonic()
        found, _card = evaluation.evaluate(spec, judged, scorers, champion=promotion)
        ours.append(time.monotonic() - started)
    looped = loop(spec, judged, scorers)
    text, kept = report(spec, found, statistics.median(ours), looped, train_seconds, busy)
    sys.stdout.write(text + "\n")
    if not asked.no_write:
        write_between_markers(DOCUMENT, "evaluation", text)
        sys.stdout.write(f"written into {DOCUMENT.relative_to(REPOSITORY)}\n")
    return 0 if kept else 1


def prepared(resources: Resources) -> tuple[ModelSpec, evaluation.EvaluationInput, dict[str, Any], float]:
    """Train candidate and champion through the pipeline's steps, and return what they are judged on."""
    now = datetime.now(UTC)
    load_samples(resources.engine, dates="shifted", today=now.date())
    spec = declared_models(resources.settings.models_dir)["flight_delay"]
    slices = (Slice(feature="carrier"), Slice(feature="origin"), Slice(feature="distance", cuts=(500, 1000, 2000)))
    spec = spec.model_copy(
        update={"window": WINDOW, "evaluation": spec.evaluation.model_copy(update={"slices": slices})}
    )
    smaller = spec.model_copy(update={"estimator": lambda columns: small(spec, columns)})
    snapshot = pipeline.take_snapshot(spec, now, resources)
    scorers, seconds = {}, 0.0
    for who, each in (("champion", smaller), ("candidate", spec)):
        started = time.monotonic()
        fitted = pipeline.train_candidate(each, f"bench {who}", snapshot, resources)
        seconds = time.monotonic() - started
        exported = pipeline.export_candidate(each, fitted, resources)
        scorers[who] = load_scorer(VerifiedFiles(Path(fitted.folder), exported.digests))
    data = training.read_training_data(spec, snapshot)
    judged = evaluation.EvaluationInput(
        holdout=data.holdout.slice(0, ROWS),
        truth=data.y_holdout[:ROWS],
        training=(data.x_train, data.y_train),
        baseline_scores=training.expected_scores(training.read_baseline(fitted), data.x_holdout[:ROWS]),
        thresholds=fitted.thresholds,
        split=snapshot.split,
        served=data.holdout.slice(ROWS - 1000, 1000),
    )
    if len(judged.truth) != ROWS:
        raise SystemExit(f"bench: FAILED: expected a holdout of {ROWS:,} rows; found {len(judged.truth):,}")
    return spec, judged, scorers, seconds


def small(spec: ModelSpec, columns: Columns) -> Any:
    return spec.estimator(columns).set_params(max_iter=40)


def loop(spec: ModelSpec, judged: evaluation.EvaluationInput, scorers: dict[str, Any]) -> float:
    """Time the usual way: draw days, and ask scikit-learn for each metric of each model again. Seconds of one draw."""
    blocks = blocks_of(event_times(spec, judged.holdout), spec.evaluation.block_length)
    answers = {who: each.score(encode_batch(judged.holdout, each.signature)) for who, each in scorers.items()}
    answers["baseline"] = judged.baseline_scores
    random = np.random.default_rng(0)
    started = time.monotonic()
    for _ in range(LOOPED):
        drawn = random.integers(0, blocks.count, blocks.count)
        rows = np.concatenate([np.flatnonzero(blocks.of_row == block) for block in drawn])
        for each in answers.values():
            measure(spec.task, judged.truth[rows], each[rows])
    return (time.monotonic() - started) / LOOPED


def report(
    spec: ModelSpec, found: Any, ours: float, looped: float, train_seconds: float, busy: float
) -> tuple[str, bool]:
    bound = max(MOST_SECONDS, SHARE_OF_TRAINING * train_seconds)
    whole = looped * spec.evaluation.n_resamples
    kept = ours <= bound
    about = (
        f"Measured {datetime.now(UTC):%Y-%m-%d %H:%M} UTC on {machine()}; load at the start {busy:.1f}. flight_delay, "
        f"{found.rows:,} holdout rows, {found.n_blocks} blocks of a day, "
        f"{spec.evaluation.n_resamples:,} resamples, three "
        f"models, {len(found.candidate)} metrics, {len(found.slices)} slices declared, {len(found.worst_slices)} found."
    )
    what = "scores, metrics, intervals, differences, slices, search, data checks, curves, importances"
    training = f"the larger of 10 s and a fifth of the training's {train_seconds:.1f} s"
    peer = f"the intervals alone with a loop over scikit-learn, extrapolated from {LOOPED} resamples of {looped:.2f} s"
    lines = [
        about,
        "",
        "| part | seconds |",
        "|---|--:|",
        f"| **the whole evaluation**: {what} | {ours:.1f} |",
        f"| limit: {training} ({'met' if kept else '**MISSED**'}) | {bound:.1f} |",
        f"| {peer} | {whole:,.0f} |",
        "",
        f"That is {whole / ours:,.0f} times faster, including the slices.",
    ]
    return "\n".join(lines), kept


if __name__ == "__main__":
    sys.exit(main())
