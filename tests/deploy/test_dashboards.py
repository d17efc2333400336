"""Each query of a dashboard runs on a real Prometheus, over the real service and the exporter, and finds something."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from statsd import StatsClient

from include.observability import read_mapping
from include.schedule import last_partition
from tests.deploy.conftest import DEPLOY, Exporter, Program, wait_until
from tests.observability import ledger, sent
from tests.repo.test_metrics import names_in

pytestmark = pytest.mark.slow

DASHBOARDS = sorted((DEPLOY / "grafana").glob("*.json"))
SETOSA = [5.1, 3.5, 1.4, 0.2]

# What is not there as long as nothing is wrong.
EMPTY = {"Alerts", "Log records dropped in an hour", "Unknown categories a second"}
ABSENT = {"ALERTS", "sluice_log_records_dropped_total", "sluice_unknown_categories_total"}


def panels() -> Iterator[tuple[str, str]]:
    """Yield the title and each query of a panel, as Grafana sends it for all models."""
    for file in DASHBOARDS:
        for panel in json.loads(file.read_text(encoding="utf-8"))["panels"]:
            for target in panel["targets"]:
                query = target["expr"].replace("$__rate_interval", "10s").replace("$model", ".*")
                assert "$" not in query
                yield panel["title"], query


def send_every_metric(port: int, model: str) -> None:
    """Send one line for each name that the pipeline and Airflow send and the mapping shows."""
    mapping = read_mapping()
    client = StatsClient("127.0.0.1", port)
    for name, kind in [*sent.by_the_pipeline(), *sent.by_airflow()]:
        if sent.mapped(mapping, name, kind) is not None:
            real = name.replace("parity.*", "parity.equal").replace("*", model)
            {"counter": client.incr, "gauge": client.gauge, "observer": client.timing}[kind](real, 1)
    client.close()


def test_each_query_of_a_dashboard_finds_series_of_the_real_system(
    harness: Any,
    run_service: Callable[..., Any],
    start_exporter: Callable[..., Exporter],
    start_prometheus: Callable[..., Program],
) -> None:
    harness.declare("iris", "empty_one")
    version = harness.champion("iris")
    now = datetime.now(UTC)
    day = last_partition(None, now)
    ledger.publish(harness.engine, "iris", version.version, day, at=now)
    service, exporter = run_service(), start_exporter()
    service.wait_until(lambda: service.ask("POST", "/v1/models/iris/predict", {"features": SETOSA})[0] == 200)
    prometheus = start_prometheus(service.port, exporter.port)
    needed = {name for _, query in panels() for name in names_in(query)} - ABSENT

    def request_and_look() -> bool:
        send_every_metric(exporter.statsd_port, "iris")
        for model, features in (("iris", SETOSA), ("iris", [SETOSA] * 3), ("iris", [1]), ("empty_one", SETOSA)):
            service.ask("POST", f"/v1/models/{model}/predict", {"features": features})
        return not missing()

    def missing() -> set[str]:
        return needed - set(prometheus.get("/api/v1/label/__name__/values")["data"])

    wait_until(request_and_look, missing, 120)
    empty: set[str] = set()

    def all_found() -> bool:
        request_and_look()
        empty.clear()
        empty.update(title for title, query in panels() if not prometheus.query(query))
        return empty <= EMPTY

    wait_until(all_found, lambda: empty - EMPTY, 120)
