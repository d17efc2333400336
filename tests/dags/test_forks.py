"""What forks of Airflow's DAG processor find known: they read DAG files every few seconds, all day long."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.dags.conftest import REPOSITORY, environment, reported, write_model

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(("process", "learns"), [("dag-processor", False), ("api-server", True)])
def test_a_fork_of_the_dag_processor_has_nothing_to_learn(tmp_path: Path, process: str, learns: bool) -> None:
    write_model(tmp_path / "models", "apple")
    env = environment(tmp_path, tmp_path / "models")
    found = reported("read_in_a_fork.py", str(REPOSITORY / "dags"), process, env=env)
    assert (found["asked"] > 300) == learns, "each class that is asked about has all its subclasses looked through"
    assert ("airflow.providers.standard.decorators.python" in found["imported"]) == learns
    assert ("include.models" in found["imported"]) == learns
