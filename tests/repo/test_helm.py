"""The Helm values, held against Airflow's own configuration and this repository: there is no cluster to try them on."""

from __future__ import annotations

import importlib.metadata
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from include.settings import REPOSITORY, Settings

HELM = REPOSITORY / "deploy" / "helm"
VALUES: dict[str, Any] = yaml.safe_load((HELM / "values.yaml").read_text(encoding="utf-8"))
DOCKERFILE = (REPOSITORY / "Dockerfile").read_text(encoding="utf-8")
QUANTITY = re.compile(r"\d+(m|Mi|Gi)?")


def configuration() -> dict[str, Any]:
    """Return Airflow's sections with their options, read from the file that ships with it."""
    ships = importlib.metadata.distribution("apache-airflow-core")
    file = next(Path(str(ships.locate_file(each))) for each in ships.files or () if each.name == "config.yml")
    sections: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))
    return sections


def test_every_option_of_airflow_is_one_that_this_airflow_has() -> None:
    known = configuration()
    # These belong to the provider, which only the image for Kubernetes holds.
    sections = {name: options for name, options in VALUES["config"].items() if name != "kubernetes_executor"}
    unknown = [
        f"{section}.{option}"
        for section, options in sections.items()
        for option in options
        if option not in known.get(section, {}).get("options", {})
    ]
    assert unknown == []


def test_it_is_for_the_airflow_that_is_pinned() -> None:
    assert VALUES["airflowVersion"] == importlib.metadata.version("apache-airflow")
    assert VALUES["executor"] == "KubernetesExecutor"
    pins = (HELM / "requirements.txt").read_text(encoding="utf-8")
    assert re.search(r"^apache-airflow-providers-cncf-kubernetes==", pins, re.MULTILINE)
    pinned = dict(re.findall(r"^([a-z0-9_.-]+)==([^ ;]+)", (REPOSITORY / "requirements.txt").read_text(), re.MULTILINE))
    beside = dict(re.findall(r"^([a-z0-9_.-]+)==([^ ;]+)", pins, re.MULTILINE))
    assert {name: beside[name] for name in beside.keys() & pinned.keys()} == {
        name: pinned[name] for name in beside.keys() & pinned.keys()
    }


def test_paths_users_and_the_target_are_those_of_the_image() -> None:
    assert f"{VALUES['uid']}:{VALUES['gid']}" == "10001:10001"
    assert "USER 10001:10001" in DOCKERFILE
    assert "AS airflow-kubernetes" in DOCKERFILE
    for name, value in (
        ("AIRFLOW_HOME", VALUES["airflowHome"]),
        ("AIRFLOW__CORE__DAGS_FOLDER", VALUES["config"]["core"]["dags_folder"]),
        ("AIRFLOW__CORE__PLUGINS_FOLDER", VALUES["config"]["core"]["plugins_folder"]),
    ):
        assert f"{name}={value}" in DOCKERFILE


def test_what_sluice_is_told_are_settings_that_it_has_and_no_secret_is_among_them() -> None:
    told = {each["name"]: each["value"] for each in VALUES["env"] if each["name"].startswith("SLUICE_")}
    known = {f"SLUICE_{name.upper()}" for name in Settings.model_fields}
    assert set(told) <= known
    assert [name for name in told if re.search("SECRET|PASSWORD|TOKEN|KEY|DATABASE_URL", name)] == []
    mounted = {each["mountPath"] for each in VALUES["volumeMounts"]}
    assert told["SLUICE_HOME"] in mounted
    assert int(told["SLUICE_TRAIN_MEMORY_MIB"]) < 4 * 1024, "a training within its budget is within its pod's limit"
    assert VALUES["workers"]["resources"]["limits"]["memory"] == "4Gi"
    assert not VALUES["config"]["logging"]["base_log_folder"].startswith(f"{VALUES['airflowHome']}/logs")


def test_the_pool_is_made_and_no_more_tasks_run_than_it_has_slots() -> None:
    (script,) = VALUES["migrateDatabaseJob"]["args"]
    assert "airflow pools set sluice_database" in script
    connections = next(each["value"] for each in VALUES["env"] if each["name"] == "SLUICE_DATABASE_MAX_CONNECTIONS")
    assert (
        Settings(database_max_connections=int(connections)).database_pool_size
        == VALUES["config"]["core"]["parallelism"]
    )


@pytest.mark.parametrize("part", ["workers", "scheduler", "dagProcessor", "triggerer", "apiServer"])
def test_every_pod_has_requests_and_limits(part: str) -> None:
    resources = VALUES[part]["resources"]
    for kind in ("requests", "limits"):
        assert set(resources[kind]) == {"cpu", "memory"}
        assert all(QUANTITY.fullmatch(str(value)) for value in resources[kind].values())
