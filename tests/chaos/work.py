"""What the chaos tests do in processes of their own, which they stop and kill."""

from __future__ import annotations

from multiprocessing.connection import Connection
from pathlib import Path

from include.models import read_spec
from include.records import ScorePlan, StagedShard
from include.spec import Scoring
from include.warehouse import open_engine
from tests.scoring.conftest import Harness

SHARD_ROWS = 4_000


def harness_at(url: str, spec_file: str) -> Harness:
    """Open the harness that the test has made, in this process."""
    spec = read_spec(Path(spec_file)).model_copy(update={"scoring": Scoring(shard_rows=SHARD_ROWS)})
    return Harness(open_engine(url), url, spec)


def stage(url: str, spec_file: str, plan: dict, shard: int, report: Connection) -> None:
    """Stage one shard, and tell the test what came of it."""
    harness = harness_at(url, spec_file)
    report.send("go")
    try:
        staged = harness.stage(ScorePlan.from_plain(plan), shard)
    except Exception as error:  # noqa: BLE001  # the test looks at it
        report.send((type(error).__name__, str(error)))
    else:
        report.send(("staged", staged.to_plain()))


def publish(url: str, spec_file: str, plan: dict, staged: list[dict], report: Connection) -> None:
    """Publish, and tell the test what came of it."""
    harness = harness_at(url, spec_file)
    report.send("go")
    try:
        done = harness.publish(ScorePlan.from_plain(plan), [StagedShard.from_plain(shard) for shard in staged])
    except Exception as error:  # noqa: BLE001  # the test looks at it
        report.send((type(error).__name__, str(error)))
    else:
        report.send(("published", done.to_plain()))
