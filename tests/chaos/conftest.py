"""A database server that tests may stop, a model on it, and processes that tests may kill."""

from __future__ import annotations

import contextlib
import multiprocessing
import random
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
from sqlalchemy import text

from include.spec import Scoring
from include.warehouse import migrate, open_engine, start_embedded, stop_embedded
from tests.builders import declare_model, keep_port
from tests.chaos import work
from tests.scoring.conftest import Harness, open_harness

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["tests.chaos.work"])
ROWS = 12_000
PATIENCE = 120


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The home of a separate server for each module, durable as in production."""
    home = tmp_path_factory.mktemp("chaos")
    keep_port(home)
    migrate(start_embedded(home))
    yield home
    stop_embedded(home)


@pytest.fixture
def harness(home: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Harness]:
    """A model for one test, with a published partition of `ROWS` rows in several shards."""
    url = start_embedded(home)
    engine = open_engine(url)
    name = f"chaos_{abs(hash(request.node.name)) % 1_000_000}"
    spec = declare_model(tmp_path / "models", name).model_copy(update={"scoring": Scoring(shard_rows=work.SHARD_ROWS)})
    harness = open_harness(engine, url, spec)
    harness.score(ROWS, "first")
    yield harness
    engine.dispose()


@pytest.fixture
def dice(request: pytest.FixtureRequest) -> random.Random:
    """A random number generator; its seed is printed when the test fails."""
    seed = random.SystemRandom().randrange(1_000_000)
    print(f"{request.node.name}: seed {seed}")
    return random.Random(seed)  # noqa: S311  # no secret


@contextlib.contextmanager
def process(target: Callable[..., None], *arguments: object) -> Iterator[tuple[BaseProcess, Connection]]:
    """Prepare `target` in a separate process; kill it at the end if it still runs."""
    mine, its = PROCESSES.Pipe()
    child = PROCESSES.Process(target=target, args=(*arguments, its), daemon=True)
    child.start()
    its.close()
    try:
        assert mine.poll(PATIENCE), "the process did not begin"
        assert mine.recv() == "go"
        yield child, mine
    finally:
        child.kill()
        child.join(PATIENCE)
        mine.close()


def whole(harness: Harness) -> tuple[int, float, int]:
    """Return sequence, score and rows that a reader sees now, after a check that they are one complete publication."""
    name = harness.spec.name
    with harness.engine.connect().execution_options(isolation_level="REPEATABLE READ") as connection:
        rows, low, high = connection.execute(
            text(f"SELECT count(*), min(p_late), max(p_late) FROM scores.{name}")
        ).one()
        sequence, told = connection.execute(
            text(f"SELECT sequence, row_count FROM sluice.published_partition WHERE model = '{name}'")
        ).one()
    assert rows == told, "the rows are those that the ledger tells of"
    assert low == high, "all rows are of one publication"
    return sequence, float(low), rows
