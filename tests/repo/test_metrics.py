"""docs/reference/metrics.md is the one list of metrics: the code emits each, and rules and dashboards use no other."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import Metric
from sqlalchemy import Engine

from include.observability import (
    MAPPING_FILE,
    StatsdReceiver,
    database_metrics,
    disk_metrics,
    heartbeat_metrics,
    ledger_metrics,
    read_mapping,
)
from include.settings import REPOSITORY
from model_service.http.request_context import RequestContext
from model_service.observability.metrics_buffer import MetricsBuffer
from model_service.observability.prometheus import PrometheusMetrics
from model_service.observability.statsd import StatsD
from tests.observability import sent
from tests.repo.test_reference import page, sections, table

PROMETHEUS = REPOSITORY / "deploy" / "prometheus"
RULES = sorted((PROMETHEUS / "rules").glob("*.yml"))
DASHBOARDS = sorted((REPOSITORY / "deploy" / "grafana").glob("*.json"))
MAPPING = read_mapping()

# Names of a metric, its type, and its labels.
Listed = set[tuple[str, str, tuple[str, ...]]]


def words(cell: str) -> tuple[str, ...]:
    return tuple(re.findall(r"`([^`]+)`", cell))


def listed(section: str) -> Listed:
    rows = table(sections(page("metrics.md"))[section])
    return {(words(row[0])[0], row[1], tuple(sorted(words(row[2])))) for row in rows}


def emitted(name: str, kind: str, labels: Any) -> tuple[str, str, tuple[str, ...]]:
    suffix = "_total" if kind == "counter" and not name.endswith("_total") else ""
    return name + suffix, kind, tuple(sorted(labels))


# -- the code --------------------------------------------------------------------------------------


def request_context() -> RequestContext:
    """Return the context of a prediction of one row."""
    context = RequestContext({"REQUEST_METHOD": "POST"}, "route")
    context.model, context.version, context.rows = "iris", 1, 1
    for phase in ("decode", "validate", "predict", "encode"):
        context.mark(phase)
    return context


def of_the_service() -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """Yield what the service's page has after a request."""
    metrics, buffer = PrometheusMetrics(None), MetricsBuffer()
    for collector in metrics._registry._collector_to_names:
        name, kind = collector._name, collector._type  # type: ignore[attr-defined]
        of_each_worker = ("pid",) if metrics._modes.get(name) == "all" else ()
        yield emitted(name, kind, (*collector._labelnames, *of_each_worker))  # type: ignore[attr-defined]
    buffer.add(request_context(), 200, 1)
    metrics._totals.add(buffer, {})
    for metric in metrics._collect():
        labels = {label for sample in metric.samples for label in sample.labels} - {"le"}
        if metric.name not in metrics._registry._names_to_collectors:
            yield emitted(metric.name, metric.type, labels)


def test_the_metrics_of_the_service_are_listed() -> None:
    assert listed("The service") == set(of_the_service())


def test_the_metrics_of_the_watcher_are_listed(engine: Engine, tmp_path: Path) -> None:
    now = datetime.now(UTC)
    with engine.connect() as connection:
        found: list[Metric] = ledger_metrics(connection, now, {})
    found += [*disk_metrics(tmp_path), *heartbeat_metrics(now), *database_metrics(reachable=True)]
    made = {emitted(each.name, each.type, each._labelnames) for each in found}  # type: ignore[attr-defined]
    (lines,) = StatsdReceiver(MAPPING).collect()
    made.add(emitted(lines.name, lines.type, lines.samples[0].labels))
    assert listed("The watcher") == made


@pytest.mark.parametrize(
    ("section", "senders"),
    [("StatsD: the pipeline", sorted(sent.by_the_pipeline())), ("StatsD: Airflow", sorted(sent.by_airflow()))],
    ids=["pipeline", "airflow"],
)
def test_what_is_sent_by_statsd_is_listed_as_the_mapping_shows_it(section: str, senders: list[Any]) -> None:
    kinds = {"counter": "counter", "gauge": "gauge", "observer": "histogram"}
    shown = [each for name, kind in senders if (each := sent.mapped(MAPPING, name, kind))]
    assert listed(section) == {emitted(each.name, kinds[each.kind], dict(each.labels)) for each in shown}


def rules_of_the_mapping() -> list[dict[str, Any]]:
    return list(yaml.safe_load(MAPPING_FILE.read_text(encoding="utf-8"))["mappings"])


def test_the_names_that_are_sent_are_those_of_the_mapping_and_mean_the_same() -> None:
    wanted: dict[str, tuple[set[str], str]] = {}
    for rule in rules_of_the_mapping():
        if rule.get("action") != "drop":
            wanted.setdefault(rule["name"], (set(), rule["help"]))[0].add(rule["match"])
    found = {
        words(row[0])[0]: ({re.sub("<[a-z_]+>", "*", name) for name in words(row[4])}, row[5].removesuffix("."))
        for section in ("StatsD: the pipeline", "StatsD: Airflow")
        for row in table(sections(page("metrics.md"))[section])
    }
    assert found == wanted


def test_a_part_of_a_sent_name_is_the_label_that_the_list_says() -> None:
    for section in ("StatsD: the pipeline", "StatsD: Airflow"):
        for row in table(sections(page("metrics.md"))[section]):
            for name in words(row[4]):
                parts = re.findall("<([a-z_]+)>", name)
                kind = {"counter": "counter", "gauge": "gauge", "histogram": "observer"}[row[1]]
                shown = MAPPING.resolve(re.sub("<([a-z_]+)>", r"\1", name), kind)  # type: ignore[arg-type]
                assert shown is not None
                assert [label for label, value in shown.labels if label == value] == sorted(parts)


def test_the_names_that_the_service_sends_are_listed_and_dropped() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(5)
        statsd, buffer = StatsD("127.0.0.1", server.getsockname()[1], 1.0), MetricsBuffer()
        context = request_context()
        buffer.add(context, 200, 1)
        statsd.add(context, 200, 1)
        statsd.flush(buffer)
        statsd.close()
        lines = server.recv(65_536).decode().splitlines()
    kinds = {"c": "counter", "ms": "timer"}
    made = {
        (name.replace("iris.1.route.200", "<model>.<version>.<route>.<status>"), kinds[rest.split("|")[1]])
        for name, _, rest in (line.partition(":") for line in lines)
    }
    assert {(words(row[0])[0], row[1]) for row in table(sections(page("metrics.md"))["StatsD: the service"])} == made
    assert [name for name, kind in made if MAPPING.resolve(name, "counter" if kind == "counter" else "observer")] == []


def recording_rules() -> set[str]:
    groups = [group for file in RULES for group in yaml.safe_load(file.read_text(encoding="utf-8"))["groups"]]
    return {rule["record"] for group in groups for rule in group["rules"] if "record" in rule}


def test_the_recording_rules_are_listed() -> None:
    assert {words(row[0])[0] for row in table(sections(page("metrics.md"))["Recording rules"])} == recording_rules()


# -- who uses them ---------------------------------------------------------------------------------

OF_PROMETHEUS = {"up", "ALERTS"}


def known_series() -> set[str]:
    """Return every name that a query may use."""
    names = set(OF_PROMETHEUS) | recording_rules()
    for section in ("The service", "The watcher", "StatsD: the pipeline", "StatsD: Airflow"):
        for name, kind, _ in listed(section):
            names |= {f"{name}_{each}" for each in ("bucket", "sum", "count")} if kind == "histogram" else {name}
    return names


def names_in(query: str) -> set[str]:
    """Return the names of metrics in a query: what stands outside braces and quotes, and is no word of the language."""
    bare = re.sub(r'"[^"]*"', '""', query)
    bare = re.sub(r"\{[^}]*\}|\[[^]]*\]", " ", bare)
    bare = re.sub(r"\b(by|on|without|ignoring|group_left|group_right)\s*\([^)]*\)", " ", bare)
    words_of_promql = {"and", "or", "unless", "group_left", "group_right", "bool", "offset"}
    return {name for name in re.findall(r"[a-zA-Z_:][\w:]*(?!\w)(?!\s*\()", bare) if name not in words_of_promql}


def queries() -> Iterator[tuple[str, str]]:
    """Yield each query of a rule or a dashboard, with its place."""
    for file in RULES:
        for group in yaml.safe_load(file.read_text(encoding="utf-8"))["groups"]:
            for rule in group["rules"]:
                yield f"{file.name}: {rule.get('alert') or rule['record']}", rule["expr"]
                for metric in re.findall(r"last_over_time\((\w+)", rule.get("labels", {}).get("owner", "")):
                    yield f"{file.name}: owner of {rule['alert']}", metric
    for file in DASHBOARDS:
        dashboard = json.loads(file.read_text(encoding="utf-8"))
        for panel in dashboard["panels"]:
            for target in panel["targets"]:
                yield f"{file.name}: {panel['title']}", target["expr"]


def test_the_names_of_a_query_are_found() -> None:
    query = 'max by (model) (a_total{b="c"}[5m]) / on (model) group_left sum(d:e_f:rate5m) > 1 and absent(up{x="y z"})'
    assert names_in(query) == {"a_total", "d:e_f:rate5m", "up"}


def test_every_metric_of_a_query_is_listed() -> None:
    found = list(queries())
    assert len(found) > 60
    assert {place: unknown for place, query in found if (unknown := names_in(query) - known_series())} == {}


def test_no_metric_of_two_sources_but_that_of_the_database_has_the_same_name() -> None:
    sources = ("The service", "The watcher", "StatsD: the pipeline", "StatsD: Airflow")
    names = [name for section in sources for name, _, _ in listed(section)]
    assert [name for name in set(names) if names.count(name) > 1] == ["sluice_database_up"]


# -- dashboards ------------------------------------------------------------------------------------


@pytest.mark.parametrize("file", DASHBOARDS, ids=lambda file: file.stem)
def test_a_dashboard_has_a_title_a_place_and_a_query_for_each_panel(file: Path) -> None:
    dashboard = json.loads(file.read_text(encoding="utf-8"))
    assert dashboard["uid"] == f"sluice-{file.stem}"
    assert dashboard["title"] == f"Sluice: {file.stem}"
    panels = dashboard["panels"]
    assert len({panel["title"] for panel in panels}) == len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert all(x < 24 for x, _ in cells), panel["title"]
        taken |= cells
        assert panel["targets"], panel["title"]
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
