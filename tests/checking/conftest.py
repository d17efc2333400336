"""A database with sound parcels, and the check of a declaration on it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from include.checking import ModelCheck, check_model
from include.warehouse import open_engine
from tests.builders import TODAY, load_parcels


@pytest.fixture(scope="module")
def parcels_url(new_database: Callable[[], str]) -> str:
    """URL of a database with ``source.parcels``; checks only read it."""
    url = new_database()
    engine = open_engine(url)
    load_parcels(engine)
    engine.dispose()
    return url


@pytest.fixture
def check(parcels_url: str) -> Callable[..., ModelCheck]:
    """Checks the declaration in a folder; statements have a minute, since the machine may be busy."""

    def call(folder: Path, *, url: str | None = parcels_url, statement_seconds: float = 60) -> ModelCheck:
        return check_model(
            folder / "spec.py", database_url=url, as_of=TODAY, memory_mib=4096, statement_seconds=statement_seconds
        )

    return call
