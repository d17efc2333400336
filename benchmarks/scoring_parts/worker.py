"""One thing measured in a process of its own: ``python worker.py WHAT HOME URL TIMES SHARDS SHARD [PLAN]``.

It imports, says "ready", waits for a line, works, and prints what it measured as JSON.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).resolve().parents[2]), str(Path(__file__).resolve().parents[1])]

from scoring_parts.cores import CoreSeconds, core_seconds  # noqa: E402  # found by the line above
from scoring_parts.data import PERIOD, SAMPLE, flight_delay, source_of, spec_over, table_of  # noqa: E402  # found by the line above

NAIVE_TABLE = "naive_scores"


def naive(home: Path, url: str, times: int) -> dict[str, Any]:
    """Score as one does with pandas and scikit-learn alone."""
    import joblib
    import pandas as pd
    from sqlalchemy import create_engine

    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    estimator, classes = joblib.load(home / "flight_delay.joblib")
    begin()
    started = time.perf_counter()
    frame = pd.read_sql(f"SELECT * FROM source.{table_of(times)}", engine)
    scores = estimator.predict_proba(frame)
    result = frame[["flight_key", "scheduled_at"]].copy()
    for position, label in enumerate(classes):
        result[f"p_{label}"] = scores[:, position]
    result["predicted_label"] = [classes[position] for position in scores.argmax(axis=1)]
    result.to_sql(NAIVE_TABLE, engine, schema="staging", if_exists="replace", index=False)
    return {"rows": len(result), "seconds": time.perf_counter() - started}


def opened(home: Path, url: str) -> Any:
    from include import pipeline
    from include.settings import Settings

    return pipeline.open_resources(Settings(home=home, database_url=url, statsd_host=None))


def _champion(resources: Any) -> int:
    champion = resources.ledger.champion("flight_delay")
    assert champion is not None
    return int(champion.to_version)


def ours(home: Path, url: str, times: int, shards: int, shard: int, plan: str) -> dict[str, Any]:
    """Plan, score and publish (shard -1: all of it), or score one shard of a plan, or publish."""
    from include import pipeline
    from include.records import ScorePlan, StagedShard, ValidationReport

    rows = int(plan) if plan.isdigit() else SAMPLE * times
    spec = spec_over(flight_delay(), times, -(-rows // shards), home / "scoring" / f"{times}x")
    with opened(home, url) as resources:
        resources = replace(resources, features=source_of(url, spec))
        begin()
        started, used = time.perf_counter(), core_seconds(home)
        if plan.isdigit():
            report = ValidationReport(
                model=spec.name, run_id=f"bench {time.time()}", purpose="score", period=PERIOD, rows=rows, checks=(),
                version=_champion(resources), mode="champion",
            )  # fmt: skip
            planned = pipeline.plan_partition(spec, report, report.run_id, resources)
            if shard == -2:
                return {"plan": planned.to_plain(), "seconds": time.perf_counter() - started}
            staged = [pipeline.score_shard(spec, planned, each, resources) for each in range(planned.shards)]
            staging = time.perf_counter() - started
            published = pipeline.publish_partition(spec, planned, staged, resources)
            found = {f"{name}_seconds": sum(getattr(each, f"{name}_seconds") for each in staged)
                     for name in ("read", "predict", "write", "key")}  # fmt: skip
            seconds = time.perf_counter() - started
            found |= {"rows": published.row_count, "seconds": seconds, "publish_seconds": seconds - staging}
            return found | (core_seconds(home) - used).named()
        told = json.loads(plan)
        planned = ScorePlan.from_plain(told["plan"])
        if "staged" in told:
            staged = [StagedShard.from_plain(each) for each in told["staged"]]
            published = pipeline.publish_partition(spec, planned, staged, resources)
            return {"rows": published.row_count, "seconds": time.perf_counter() - started}
        staged_shard = pipeline.score_shard(spec, planned, shard, resources)
        return {"staged": staged_shard.to_plain(), "seconds": time.perf_counter() - started}


def read_alone(home: Path, url: str, times: int) -> dict[str, Any]:
    """Read all rows, and do nothing with them."""
    from include.warehouse.rows import open_rows, rows_query

    spec = spec_over(flight_delay(), times, 1, home / "scoring" / f"{times}x")
    begin()
    started, used = time.perf_counter(), core_seconds(home)
    with open_rows(url, rows_query(spec.query, PERIOD, labelled=False)) as batches:
        rows = sum(batch.num_rows for batch in batches)
    return {"rows": rows, "seconds": time.perf_counter() - started} | (core_seconds(home) - used).named()


def _batches(home: Path, url: str, times: int, most: int) -> tuple[Any, Any, list[Any]]:
    from include.inference import load_scorer
    from include.warehouse.rows import open_rows, rows_query

    spec = spec_over(flight_delay(), times, 1, home / "scoring" / f"{times}x")
    with opened(home, url) as resources:
        registered = resources.ledger.version("flight_delay", _champion(resources))
        scorer = load_scorer(resources.artifacts.open("flight_delay", registered.version, registered.artifact_digest))
    kept: list[Any] = []
    with open_rows(url, rows_query(spec.query, PERIOD, labelled=False)) as batches:
        for batch in batches:
            kept.append(batch)
            if sum(each.num_rows for each in kept) >= most:
                break
    return spec, scorer, kept


def predict_alone(home: Path, url: str, times: int) -> dict[str, Any]:
    """Encode and score rows that lie in memory."""
    from include.scoring import score_batches

    _, scorer, kept = _batches(home, url, times, 500_000)
    begin()
    started, used = time.perf_counter(), time.process_time()
    rows = sum(scored.rows for scored in score_batches(kept, scorer))
    # What the database does meanwhile is housekeeping of its own.
    cores = CoreSeconds(client=time.process_time() - used, database=0.0)
    return {"rows": rows, "seconds": time.perf_counter() - started} | cores.named()


def copy_alone(home: Path, url: str, times: int) -> dict[str, Any]:
    """COPY the very bytes that we write into the very table, without and then with making the key."""
    import psycopg

    from include.scoring import ensure_score_table, score_batches
    from include.scoring.binary_copy import HEADER, TRAILER, CopyWriter
    from include.warehouse import open_engine

    spec, scorer, kept = _batches(home, url, times, 1_000_000)
    engine = open_engine(url)
    ensure_score_table(engine, spec)
    engine.dispose()
    writer = CopyWriter(spec.target.classes, [0, 1])
    scored = list(score_batches(kept, scorer))
    building, used = time.perf_counter(), core_seconds(home)
    blocks = [writer.block(batch)[0] for batch in scored]
    building, build_used = time.perf_counter() - building, core_seconds(home) - used
    begin()
    with psycopg.connect(url) as connection:
        started, used = time.perf_counter(), core_seconds(home)
        connection.execute("CREATE TABLE staging.bench_copy (LIKE scores.flight_delay)")
        connection.execute(
            "ALTER TABLE staging.bench_copy ALTER partition_start SET DEFAULT '2000-01-01', "
            "ALTER model_version SET DEFAULT 1, ALTER scored_at SET DEFAULT now()"
        )
        statement = (
            "COPY staging.bench_copy (entity_key, event_time, p_on_time, p_late, predicted_label)"
            " FROM STDIN (FORMAT binary, FREEZE)"
        )
        with connection.cursor() as cursor, cursor.copy(statement) as copy:
            copy.write(HEADER)
            for block in blocks:
                copy.write(block)
            copy.write(TRAILER)
        copied, copy_used = time.perf_counter() - started, core_seconds(home) - used
        connection.execute("SET LOCAL maintenance_work_mem = '256MB'")
        connection.execute("ALTER TABLE staging.bench_copy ADD PRIMARY KEY (entity_key, partition_start)")
        keyed, key_used = time.perf_counter() - started, core_seconds(home) - used - copy_used
        connection.commit()
        committed = time.perf_counter() - started
        connection.execute("DROP TABLE staging.bench_copy")
    rows = sum(batch.rows for batch in scored)
    size = sum(map(len, blocks))
    return {
        "rows": rows, "seconds": copied, "keyed_seconds": keyed, "committed_seconds": committed,
        "build_seconds": building, "bytes": size,
        **build_used.named("build_"), **copy_used.named(), **key_used.named("key_"),
    }  # fmt: skip


def peak_mib() -> float:
    """Return the most memory that this process has had (VmHWM; getrusage would tell of the parent's, too)."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))) / 1024


def begin() -> None:
    """Say that everything is imported, and wait for the word."""
    print("ready", flush=True)
    sys.stdin.readline()


def main() -> None:
    what, home, url, times, *rest = sys.argv[1:]
    alone: dict[str, Callable[[Path, str, int], dict[str, Any]]] = {
        "naive": naive, "read": read_alone, "predict": predict_alone, "copy": copy_alone,
    }  # fmt: skip
    if what == "ours":
        found = ours(Path(home), url, int(times), int(rest[0]), int(rest[1]), rest[2])
    else:
        found = alone[what](Path(home), url, int(times))
    found["peak_mib"] = peak_mib()
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
