"""What the service shows of itself: metrics over all workers, a line a request, a sample of predictions, alerts."""

from __future__ import annotations

import gzip
import json
import logging
import os
import re
import shutil
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import jwt
import psutil
import pytest
from sqlalchemy import Engine, event, text

from include.inference import RowEncoder
from include.settings import Settings
from model_service import ModelRegistry, create_app
from model_service.http.request_context import RequestContext
from model_service.models.champion_watcher import ChampionWatcher
from model_service.observability import build_recorder
from model_service.observability.access_log import AccessLog, AccessLogEntry, RotatingFile
from model_service.observability.metrics_buffer import MetricsBuffer
from model_service.observability.prediction_log import PredictionLog
from model_service.observability.request_totals import MAX_VERSIONS, OTHER, RequestTotals, merged
from model_service.observability.shared_metrics import SharedMetrics, UnreadableMetricsError

SETOSA = [5.1, 3.5, 1.4, 0.2]
TRIP = {"distance": 10.5, "carrier": "BB", "weekend": True}
CLAIMS = {"iss": "sluice", "aud": "sluice", "sub": "shop", "exp": 4_000_000_000, "scope": "predict"}
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.fixture(scope="module")
def settled(both_ways: Any) -> Any:
    return both_ways


def value(metrics: str, name: str, **labels: Any) -> float:
    """Return the sum of a metric's samples that have `labels`."""
    total = 0.0
    for line in metrics.splitlines():
        found = re.fullmatch(r"([a-z_]+)(?:\{(.*)\})? (\S+)", line)
        if found and found[1] == name:
            held = dict(re.findall(r'(\w+)="([^"]*)"', found[2] or ""))
            if all(held.get(key) == str(wanted) for key, wanted in labels.items()):
                total += float(found[3])
    return total


class Lines:
    """Takes what an access log writes; shows it without the scrapes of a test."""

    def __init__(self) -> None:
        self.written = b""
        self.flush: Callable[[], None] = lambda: None

    def __call__(self, lines: bytes) -> None:
        self.written += lines

    def __iter__(self) -> Iterator[dict[str, Any]]:
        self.flush()
        lines = (json.loads(line) for line in self.written.splitlines())
        return (line for line in lines if line["route"] != "/metrics")


class Watched:
    """The application in this process with an recorder that is flushed by hand."""

    def __init__(self, settled: Any, engine: Engine | None = None, **changes: Any) -> None:
        self.settings = settled.harness.settings.model_copy(update=changes)
        self.recorder = build_recorder(self.settings, settled.registry, engine, None)
        self.lines = Lines()
        if self.recorder._access is not None:
            self.recorder._access = AccessLog(self.lines)
            self.lines.flush = self.recorder.flush_access
        self.client = create_app(self.settings, settled.registry, settled.harness.engine, self.recorder).test_client()

    def metrics(self) -> str:
        return self.client.get("/metrics").get_data(as_text=True)

    def predict(self, features: Any, model: str = "iris", **headers: str) -> Any:
        return self.client.post(f"/v1/models/{model}/predict", json={"features": features}, headers=headers)


# -- metrics ---------------------------------------------------------------------------------------


def test_requests_are_counted_by_route_model_version_and_status(settled: Any) -> None:
    watched = Watched(settled)
    for _ in range(3):
        watched.predict(SETOSA)
    watched.predict([1])
    watched.client.get("/v1/models/nobody")
    watched.client.get("/made/up/path")
    shown = watched.metrics()
    route = "/v1/models/<name>/predict"
    count = "sluice_http_request_duration_seconds_count"
    assert value(shown, count, route=route, model="iris", version=1, status=200) == 3
    assert value(shown, count, route=route, model="iris", version=1, status=422) == 1
    assert value(shown, count, route="unmatched", status=404) == 1
    assert "nobody" not in shown
    assert "made" not in shown
    assert value(shown, "sluice_predicted_rows_total", model="iris", version=1) == 3


def test_unknown_categories_in_requests_are_counted_and_logged_once(
    settled: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    loaded = settled.registry["trip"].current
    distance, carrier, weekend = loaded.scorer.signature.features
    tolerant = carrier.model_copy(update={"handle_unknown": "ignore"})
    signature = loaded.scorer.signature.model_copy(update={"features": (distance, tolerant, weekend)})
    monkeypatch.setattr(loaded, "encoder", RowEncoder(signature, settled.registry.unknown_categories))
    watched = Watched(settled)
    with caplog.at_level(logging.WARNING, "model_service.observability.recorder"):
        for carriers in (["bb"], ["BB"], ["CC", "bb", "new"]):
            rows = [TRIP | {"carrier": each} for each in carriers]
            assert watched.predict(rows, "trip").status_code == 200
            shown = watched.metrics()
    assert value(shown, "sluice_unknown_categories_total", model="trip", feature="carrier") == 3
    (warned,) = caplog.messages
    assert warned.startswith(
        "model 'trip': a request has a category of feature 'carrier' that its version does not know"
    )


# What asks for a model that cannot answer, or not so, and with which status it is refused.
REFUSED = [
    ("/v1/models/empty_one/predict", "empty_one", 503),
    ("/v1/models/iris/versions/99/predict", "iris", 404),
    ("/v1/models/empty_one/predict_async", "empty_one", 503),
    ("/v1/models/iris/scores:lookup", "iris", 422),
    ("/v2/models/empty_one/infer", "empty_one", 503),
    ("/v2/models/iris/versions/99/infer", "iris", 404),
]


@pytest.mark.parametrize(("path", "model", "status"), REFUSED)
def test_what_a_model_refuses_counts_for_the_model_and_for_no_version(
    settled: Any, path: str, model: str, status: int
) -> None:
    watched = Watched(settled)
    assert watched.client.post(path, json={"features": SETOSA}).status_code == status
    count = "sluice_http_request_duration_seconds_count"
    assert value(watched.metrics(), count, model=model, version="", status=status) == 1
    assert [(each["model"], each.get("version")) for each in watched.lines] == [(model, None)]


def test_a_model_that_is_not_loaded_yet_is_named_as_what_is_not_available(settled: Any) -> None:
    watched = Watched(replace(settled, registry=ModelRegistry(["iris"])))
    for path in ("/predict", "/v1/models/iris/predict", "/v2/models/iris/infer"):
        assert watched.client.post(path, json={}).status_code == 503
    shown = watched.metrics()
    assert value(shown, "sluice_http_request_duration_seconds_count", model="iris", version="", status=503) == 3


def test_whom_the_guard_turns_away_counts_for_the_model_that_was_asked(settled: Any) -> None:
    secret = Settings(auth_secret="s" * 32).auth_secret
    asking, narrow = Watched(settled, auth_secret=secret), {"service_rate_limit": 0.001, "service_rate_limit_burst": 1}
    other = jwt.encode(CLAIMS | {"models": ["trip"]}, "s" * 32, "HS256")
    assert asking.predict(SETOSA).status_code == 401
    assert asking.predict(SETOSA, Authorization=f"Bearer {other}").status_code == 403
    limited, full = Watched(settled, service_workers=1, **narrow), Watched(settled, service_max_concurrency=0)
    assert [limited.predict(SETOSA).status_code for _ in range(2)] == [200, 429]
    assert full.predict(SETOSA).status_code == 503
    for watched, status in ((asking, 401), (asking, 403), (limited, 429), (full, 503)):
        shown = watched.metrics()
        assert value(shown, "sluice_http_request_duration_seconds_count", model="iris", version="", status=status) == 1


def test_reading_of_a_model_counts_for_it(settled: Any) -> None:
    watched = Watched(settled)
    paths = ["/v1/models/iris", "/v1/models/iris/versions", "/v2/models/iris", "/v2/models/iris/ready"]
    paths += ["/v2/models/iris/versions/1", "/v2/models/iris/versions/1/ready"]
    for path in paths:
        assert watched.client.get(path).status_code == 200
    assert value(watched.metrics(), "sluice_http_request_duration_seconds_count", model="iris", status=200) == len(
        paths
    )
    assert {each["model"] for each in watched.lines} == {"iris"}


def test_a_name_that_is_not_declared_is_no_label(settled: Any) -> None:
    watched = Watched(settled)
    for path in ("/v1/models/made_up/predict", "/v2/models/made_up/infer", "/v1/models/made_up/versions/1/predict"):
        assert watched.client.post(path, json={"features": SETOSA}).status_code == 404
    for path in ("/v1/models/made_up", "/v1/models/made_up/versions", "/v2/models/made_up"):
        assert watched.client.get(path).status_code == 404
    shown = watched.metrics()
    assert value(shown, "sluice_http_request_duration_seconds_count", model="", version="", status=404) == 6
    assert "made_up" not in shown
    assert all("model" not in each for each in watched.lines)


def test_the_time_of_a_prediction_is_split_by_stage(settled: Any) -> None:
    watched = Watched(settled)
    watched.predict([SETOSA] * 50)
    shown = watched.metrics()
    for phase in ("decode", "validate", "predict", "encode"):
        assert value(shown, "sluice_prediction_phase_duration_seconds_count", model="iris", phase=phase) == 1
        assert value(shown, "sluice_prediction_phase_duration_seconds_sum", model="iris", phase=phase) > 0
    phases = value(shown, "sluice_prediction_phase_duration_seconds_sum", model="iris")
    assert phases < value(shown, "sluice_http_request_duration_seconds_sum", model="iris")
    assert value(shown, "sluice_predicted_rows_total", model="iris", version=1) == 50


def test_buckets_are_cumulative_and_end_with_the_count(settled: Any) -> None:
    watched = Watched(settled)
    for _ in range(20):
        watched.predict(SETOSA)
    shown = watched.metrics()
    buckets = [
        float(each)
        for each in re.findall(r"sluice_http_request_duration_seconds_bucket\{[^}]*iris[^}]*\} (\S+)", shown)
    ]
    assert buckets == sorted(buckets)
    assert buckets[-1] == value(shown, "sluice_http_request_duration_seconds_count", model="iris") == 20


def test_levels_tell_what_is_ready_loaded_and_refused(harness: Any) -> None:
    harness.declare("iris", "trip")
    harness.champion("iris")
    registry = ModelRegistry()
    recorder = build_recorder(harness.settings, registry, None, None)
    watcher = ChampionWatcher(
        registry,
        harness.engine,
        artifacts=harness.store,
        models_dir=harness.settings.models_dir,
        listener=recorder,
    )
    watcher.poll_once()
    shown = recorder.metrics()[0].decode()
    assert value(shown, "sluice_model_ready", model="iris") == 1
    assert value(shown, "sluice_model_ready", model="trip") == 0
    assert value(shown, "sluice_model_version", model="iris") == 1
    assert value(shown, "sluice_model_reloads_total", model="iris") == 1
    bad = harness.register("iris", seed=1)
    (Path(harness.store.locate("iris", bad.version)) / "model.onnx").write_bytes(b"not what was registered")
    harness.promote("iris", bad.version)
    watcher.poll_once()
    shown = recorder.metrics()[0].decode()
    assert value(shown, "sluice_model_ready", model="iris") == 1
    assert value(shown, "sluice_model_load_failed", model="iris") == 1
    assert value(shown, "sluice_model_load_failures_total", model="iris") == 1
    assert value(shown, "sluice_model_version", model="iris") == 1


def test_a_refused_artifact_raises_one_alert_however_many_workers_see_it(harness: Any) -> None:
    harness.declare("iris")
    bad = harness.register("iris")
    (Path(harness.store.locate("iris", bad.version)) / "model.onnx").write_bytes(b"not what was registered")
    harness.promote("iris", bad.version)
    for _worker in range(3):
        registry = ModelRegistry()
        recorder = build_recorder(harness.settings, registry, harness.engine, None)
        ChampionWatcher(
            registry,
            harness.engine,
            artifacts=harness.store,
            models_dir=harness.settings.models_dir,
            listener=recorder,
        ).poll_once()
        recorder.flush_predictions()
    with harness.engine.connect() as connection:
        alerts = connection.execute(text("SELECT model, dag_id, run_id, error, incident_id FROM sluice.alert")).all()
    assert [(each.model, each.dag_id, each.run_id, each.incident_id) for each in alerts] == [
        ("iris", "model_service", "version 1 could not be loaded", None)
    ]
    assert "no version is served" in alerts[0].error


def test_processor_time_and_memory_of_the_workers_are_shown_and_are_measured_seldom(
    settled: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched = Watched(settled)
    shown = watched.metrics()
    memory = value(shown, "sluice_worker_resident_memory_bytes", pid=os.getpid())
    assert 10 << 20 < memory < psutil.virtual_memory().total
    spent = value(shown, "sluice_worker_cpu_seconds_total")
    assert spent > 0
    sum(range(1_000_000))
    assert value(watched.metrics(), "sluice_worker_cpu_seconds_total") == spent
    monkeypatch.setattr("model_service.observability.prometheus.PROCESS_SECONDS", 0.0)
    assert value(watched.metrics(), "sluice_worker_cpu_seconds_total") > spent


def test_counters_of_faults_begin_at_zero_so_that_the_first_fault_is_an_increase(settled: Any) -> None:
    shown = Watched(settled).metrics()
    for reason in ("crashed", "stuck", "unresponsive"):
        assert f'sluice_worker_restarts_total{{reason="{reason}"}} 0.0' in shown
    for reason in ("worker_limit", "address_limit"):
        assert f'sluice_connections_closed_total{{reason="{reason}"}} 0.0' in shown


def test_metrics_are_open_on_loopback_and_ask_for_a_scope_elsewhere(settled: Any) -> None:
    secret = Settings(auth_secret="s" * 32).auth_secret
    here = Watched(settled, auth_secret=secret)
    assert here.client.get("/metrics").status_code == 200
    elsewhere = Watched(settled, auth_secret=secret, service_host="192.0.2.1")
    assert elsewhere.client.get("/metrics").status_code == 401


def test_single_timings_go_to_statsd_many_to_a_datagram(settled: Any) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(5)
        changes = {"statsd_host": "127.0.0.1", "statsd_port": server.getsockname()[1], "service_statsd_rate": 1.0}
        watched = Watched(settled, **changes)
        for _ in range(2):
            watched.predict(SETOSA)
        watched.predict([1])
        watched.predict(SETOSA, "empty_one")
        watched.recorder.flush()
        sent = server.recv(65_536).decode()
        watched.recorder.stop()
    assert len(sent) <= 1432
    lines = sent.splitlines()
    name = "sluice.service.iris.1.v1_models_name_predict"
    assert {f"{name}.200.requests:2|c", f"{name}.422.requests:1|c"} <= set(lines)
    assert "sluice.service.empty_one.none.v1_models_name_predict.503.requests:1|c" in lines
    for phase in ("request", "decode", "validate", "predict", "encode"):
        timings = [each for each in lines if each.startswith(f"{name}.200.{phase}:")]
        assert len(timings) == 2
        assert all(re.fullmatch(r".*:\d+\.\d{4}\|ms", each) for each in timings)
    # In milliseconds: the phases are parts of the whole.
    spent = {phase: float(re.search(rf"200\.{phase}:([\d.]+)", sent)[1]) for phase in ("request", "predict")}
    assert 0 < spent["predict"] < spent["request"]


def test_a_sample_of_timings_says_its_rate_and_counts_stay_whole(settled: Any) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(5)
        changes = {"statsd_host": "127.0.0.1", "statsd_port": server.getsockname()[1], "service_statsd_rate": 0.25}
        watched = Watched(settled, **changes)
        context = context_of(1)
        for _ in range(400):
            watched.recorder.on_end(context, 200)
        watched.recorder.flush()
        lines: list[str] = []
        while "sluice.service.iris.1.predict.200.requests:400|c" not in lines or sum("|@" in e for e in lines) < 30:
            lines += server.recv(65_536).decode().splitlines()
        watched.recorder.stop()
    timings = [each for each in lines if ".request:" in each]
    assert all(each.endswith("|ms|@0.25") for each in timings)
    assert len(timings) < 250  # 100 on average; more than 250 of 400 would be no sample


def test_exemplars_name_a_request_of_each_bucket_in_openmetrics(settled: Any) -> None:
    from prometheus_client.openmetrics.parser import text_string_to_metric_families

    watched = Watched(settled)
    watched.predict(SETOSA, **{"X-Request-ID": "order-17"})
    watched.predict([1], traceparent=TRACE)
    answer = watched.client.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert answer.content_type.startswith("application/openmetrics-text")
    text = answer.get_data(as_text=True)
    assert text.endswith("# EOF\n")
    families = {each.name: each for each in text_string_to_metric_families(text)}
    found = {}
    for name in ("sluice_http_request_duration_seconds", "sluice_prediction_phase_duration_seconds"):
        for sample in families[name].samples:
            if sample.exemplar:
                held = sample.labels
                assert sample.exemplar.value <= float(held["le"])
                assert abs(float(sample.exemplar.timestamp) - time.time()) < 60
                found[held["status"], held.get("phase")] = sample.exemplar.labels
    assert found["200", None] == {"request_id": "order-17"}
    assert found["422", None] == {"trace_id": TRACE[3:35]}
    for phase in ("decode", "validate", "predict", "encode"):
        assert found["200", phase] == {"request_id": "order-17"}
    # What does not ask for OpenMetrics gets the text form, which knows no exemplars.
    assert "order-17" not in watched.metrics()


def buffer_of(version: int, request_id: str = "r") -> MetricsBuffer:
    buffer, context = MetricsBuffer(), context_of(1)
    context.version, context.request_id, context.rows = version, request_id, 1
    buffer.add(context, 200, 60_000)
    return buffer


def test_the_latest_request_of_all_workers_is_the_exemplar() -> None:
    workers = [RequestTotals() for _ in range(2)]
    for number, worker in enumerate(workers):
        worker.add(buffer_of(1, f"worker-{number}"), {})
    for order in (workers, workers[::-1]):
        (stats,) = merged(each.series.items() for each in order).values()
        assert [each[2] for each in stats.request.exemplars if each] == ["worker-1"]
        assert stats.request.count == 2


# -- labels are bounded ----------------------------------------------------------------------------


def test_a_thousand_champions_leave_as_many_series_as_a_few_and_lose_no_count() -> None:
    totals = RequestTotals()
    for version in range(1, 1001):
        totals.add(buffer_of(version), {"iris": version})
    versions = {version for _, _, version, _ in totals.series}
    assert versions == {OTHER, *map(str, range(1001 - MAX_VERSIONS, 1001))}
    assert sum(each.request.count for each in totals.series.values()) == 1000
    assert sum(each.rows for each in totals.series.values()) == 1000


def test_versions_that_a_caller_names_displace_no_series_of_a_champion() -> None:
    totals = RequestTotals()
    totals.add(buffer_of(5), {"iris": 5})
    for version in range(10, 500):
        totals.add(buffer_of(version), {"iris": 5})
    versions = {version for _, _, version, _ in totals.series}
    assert len(versions) == MAX_VERSIONS + 1
    assert "5" in versions
    totals.add(buffer_of(900), {"iris": 900})
    assert "900" in {version for _, _, version, _ in totals.series}
    assert sum(each.request.count for each in totals.series.values()) == 492


def test_the_successor_of_a_worker_continues_its_counts_with_as_many_series() -> None:
    before, after = RequestTotals(), RequestTotals()
    for version in range(1, 101):
        before.add(buffer_of(version), {"iris": version})
    after.add_series(before.series.items())
    assert after.series == before.series
    after.add(buffer_of(101), {"iris": 101})
    assert len(after.series) == len(before.series)


# -- what the workers share ------------------------------------------------------------------------


def test_what_a_worker_wrote_last_is_read_whatever_its_length() -> None:
    shared = SharedMetrics(1)
    assert shared.attach() is None
    reader = SharedMetrics.__new__(SharedMetrics)
    reader.__dict__ |= shared.__dict__ | {"_own": None}
    for content in (b"a", b"b" * 100_000, b"c", b"d" * 5000):
        shared.write(content)
        assert list(reader.others()) == [content]
        assert list(shared.others()) == []


def test_a_place_that_was_overwritten_is_told_from_one_that_was_never_written() -> None:
    shared = SharedMetrics(1)
    shared.attach()
    for number in range(2):
        shared.write(b"content %d" % number)
    first, second = shared._places[0]
    os.pwrite(second, b"garbage", 0)
    assert shared._newest(0) == (2, b"content 1")
    for damage in (lambda: os.ftruncate(first, 7), lambda: os.pwrite(first, b"\xff" * 400, 0)):
        damage()
        with pytest.raises(UnreadableMetricsError):
            shared._newest(0)
    assert shared._newest(1) == (0, None)
    shared.write(b"again")
    assert shared._newest(0) == (3, b"again")


@pytest.mark.parametrize(
    "accept",
    [
        "application/openmetrics-text; version=x",
        "text/plain; version=1e9",
        "application/openmetrics-text;version=" + "9" * 5000,
        "text/plain;version=\xb2",
        ",;=",
    ],
)
def test_any_accept_header_gets_the_metrics(settled: Any, accept: str) -> None:
    assert Watched(settled).client.get("/metrics", headers={"Accept": accept}).status_code == 200


def test_metrics_are_compressed_for_who_accepts_it(settled: Any) -> None:
    watched = Watched(settled)
    watched.predict(SETOSA)
    plain = watched.client.get("/metrics")
    packed = watched.client.get("/metrics", headers={"Accept-Encoding": "gzip"})
    assert packed.headers["Content-Encoding"] == "gzip"
    assert "Content-Encoding" not in plain.headers
    assert gzip.decompress(packed.data).decode().splitlines()[0] == plain.text.splitlines()[0]
    assert len(packed.data) < len(plain.data) / 5


# -- the access log --------------------------------------------------------------------------------


def test_a_request_is_one_line_with_its_id_and_no_feature(settled: Any) -> None:
    watched = Watched(settled)
    watched.predict([5.12345, 3.5, 1.4, 0.2], **{"X-Request-ID": "order-17", "traceparent": TRACE})
    watched.recorder.flush()
    (line,) = watched.lines
    assert line.pop("time").endswith("Z")
    assert line.pop("microseconds") > 0
    assert line == {
        "request_id": "order-17",
        "method": "POST",
        "route": "/v1/models/<name>/predict",
        "status": 200,
        "address": "127.0.0.1",
        "subject": "anonymous",
        "model": "iris",
        "version": 1,
        "rows": 1,
        "traceparent": TRACE,
    }
    assert b"5.12345" not in watched.lines.written


def test_a_refused_row_leaves_no_value_in_the_log(settled: Any) -> None:
    watched = Watched(settled)
    watched.predict(["very private", 1, 2, 3])
    watched.recorder.flush()
    assert b"private" not in watched.lines.written


def test_features_are_logged_when_a_setting_asks(settled: Any) -> None:
    watched = Watched(settled, service_access_log_payloads=True)
    watched.predict([SETOSA, SETOSA])
    watched.recorder.flush()
    (line,) = watched.lines
    assert line["features"] == [SETOSA, SETOSA]
    assert [each["label"] for each in line["predictions"]] == ["setosa", "setosa"]


def test_the_trace_context_is_passed_on_if_it_is_one(settled: Any) -> None:
    watched = Watched(settled)
    assert watched.predict(SETOSA, traceparent=TRACE).headers["traceparent"] == TRACE
    for odd in ("00-0-0-01", TRACE.upper(), TRACE.replace("4", "0")[:3] + "0" * 32 + TRACE[35:], "x" * 5000):
        assert "traceparent" not in watched.predict(SETOSA, traceparent=odd).headers


def test_the_subject_of_the_token_is_logged_never_the_token(settled: Any) -> None:
    watched = Watched(settled, auth_secret=Settings(auth_secret="s" * 32).auth_secret)
    bearer = jwt.encode(CLAIMS, "s" * 32, "HS256")
    assert watched.predict(SETOSA, Authorization=f"Bearer {bearer}").status_code == 200
    watched.recorder.flush()
    assert [line["subject"] for line in watched.lines] == ["shop"]
    assert bearer.encode() not in watched.lines.written


def line(number: int) -> AccessLogEntry:
    from datetime import UTC, datetime

    return AccessLogEntry(datetime.now(UTC), f"r{number}", "GET", "/", 200, 1, "127.0.0.1", "anonymous")


def test_lines_that_nobody_writes_are_dropped_and_counted() -> None:
    lines = Lines()
    log = AccessLog(lines, max_queued=10)
    for number in range(25):
        log.add(line(number))
    assert log.dropped == 15
    log.flush()
    assert [each["request_id"] for each in lines] == [f"r{number}" for number in range(10)]


def test_half_of_a_surrogate_pair_costs_no_line() -> None:
    lines = Lines()
    log = AccessLog(lines)
    for number in range(3):
        log.add(line(number))
    odd = line(3)
    odd.subject, odd.features = "\ud800", [{"carrier": "a\udfffb", "\ud800": [1.5, None, float("nan"), 10**30]}]
    log.add(odd)
    log.add(line(4))
    log.flush()
    found = list(lines)
    assert [each["request_id"] for each in found] == [f"r{number}" for number in range(5)]
    assert found[3]["subject"] == "?"
    assert found[3]["features"] == [{"carrier": "a?b", "?": [1.5, None, None, 10**30]}]
    assert found[3].keys() - {"features"} == found[4].keys()


def test_a_log_that_cannot_be_written_stops_no_scrape_and_is_counted(settled: Any) -> None:
    watched = Watched(settled)
    with Path("/dev/full").open("wb", buffering=0) as full:
        watched.recorder._access = AccessLog(lambda lines: full.write(lines) and None)
        watched.predict(SETOSA)
        watched.recorder._try(watched.recorder.flush_access)
        answer = watched.client.get("/metrics")
    assert answer.status_code == 200
    shown = answer.get_data(as_text=True)
    assert value(shown, "sluice_log_records_dropped_total", log="access") == 1
    assert value(shown, "sluice_http_request_duration_seconds_count", model="iris", status=200) == 1


def test_a_full_file_is_put_aside_by_one_of_its_writers_and_no_line_is_lost(tmp_path: Path) -> None:
    writers = [RotatingFile(tmp_path / "access.log", 10_000) for _ in range(2)]
    for number in range(400):
        writers[number % 2].write(f"{number:099}\n".encode())
    files = sorted(tmp_path.glob("access.log*"))
    found = {int(each) for file in files if file.suffix != ".lock" for each in file.read_text().split()}
    assert found == set(range(400))
    assert all(file.stat().st_size <= 10_200 for file in files)


def test_only_five_old_files_are_kept(tmp_path: Path) -> None:
    writer = RotatingFile(tmp_path / "access.log", 1000)
    for number in range(200):
        writer.write(f"{number:099}\n".encode())
    assert len([each for each in tmp_path.glob("access.log.*") if each.suffix != ".lock"]) == 5


# -- the prediction log ----------------------------------------------------------------------------


def logged(engine: Engine) -> list[Any]:
    with engine.connect() as connection:
        return list(connection.execute(text("SELECT * FROM sluice.prediction_log ORDER BY id")))


def test_sampled_predictions_are_kept_with_inputs_outputs_and_version(harness: Any, service: Any) -> None:
    harness.declare("iris")
    harness.champion("iris")
    service.watcher.poll_once()
    watched = Watched(service, harness.engine, service_sample_rate=1.0)
    answer = watched.predict([SETOSA, SETOSA], **{"X-Request-ID": "order-17"}).get_json()
    watched.predict([1])
    watched.recorder.flush_predictions()
    first, second = logged(harness.engine)
    assert (first.model, first.version, first.request_id, first.position) == ("iris", 1, "order-17", 0)
    assert second.position == 1
    assert first.inputs == SETOSA
    assert first.outputs == answer["predictions"][0]
    assert value(watched.metrics(), "sluice_prediction_log_rows_total") == 2


def test_tensors_are_sampled_as_rows(harness: Any, service: Any) -> None:
    harness.declare("trip")
    harness.champion("trip")
    service.watcher.poll_once()
    watched = Watched(service, harness.engine, service_sample_rate=1.0)
    tensors = {
        "distance": ("FP64", [10.5, None]),
        "carrier": ("BYTES", ["BB", "AA"]),
        "weekend": ("BOOL", [True, False]),
    }
    inputs = [{"name": name, "datatype": kind, "shape": [2], "data": data} for name, (kind, data) in tensors.items()]
    assert watched.client.post("/v2/models/trip/infer", json={"inputs": inputs}).status_code == 200
    watched.recorder.flush_predictions()
    first, second = logged(harness.engine)
    assert first.inputs == {"distance": 10.5, "carrier": "BB", "weekend": True}
    assert second.inputs == {"distance": None, "carrier": "AA", "weekend": False}
    assert set(first.outputs) == {"label", "class_index", "probabilities"}


def test_nothing_is_kept_unless_a_setting_asks(harness: Any, service: Any) -> None:
    harness.declare("iris")
    harness.champion("iris")
    service.watcher.poll_once()
    watched = Watched(service, harness.engine)
    watched.predict(SETOSA)
    watched.recorder.flush_predictions()
    assert not logged(harness.engine)


def context_of(rows: int) -> RequestContext:
    context = RequestContext({"REQUEST_METHOD": "POST"}, "/predict")
    context.model, context.version = "iris", 1
    context.inputs, context.outputs = [SETOSA] * rows, [{"value": 1.0}] * rows
    return context


def test_at_most_a_hundred_rows_of_a_request_are_kept(engine: Engine) -> None:
    log = PredictionLog(engine)
    log.add(context_of(5000))
    log.flush()
    assert len(logged(engine)) == 100


def test_a_full_queue_drops_and_counts_and_what_waits_is_written_when_the_database_is_back(engine: Engine) -> None:
    from include.warehouse import open_engine

    away = open_engine("postgresql://nobody@127.0.0.1:1/none", connect_args={"connect_timeout": 1})
    log = PredictionLog(away, max_queued=10)
    for _ in range(15):
        log.add(context_of(1))
    log.flush()
    assert (log.dropped, log.written) == (5, 0)
    log._engine = engine
    log.flush()
    assert len(logged(engine)) == log.written == 10


def add_rows(log: PredictionLog, odd: dict[int, str], rows: int) -> None:
    """Add requests r0, r1, ... of one row each; those in `odd` hold its text."""
    for number in range(rows):
        context = context_of(1)
        context.request_id = f"r{number}"
        context.inputs = [[odd.get(number, "AA"), 1.5]]
        log.add(context)


def ids(engine: Engine) -> list[str]:
    return [each.request_id for each in logged(engine)]


def alerts(engine: Engine) -> list[Any]:
    with engine.connect() as connection:
        return list(connection.execute(text("SELECT model, run_id, error FROM sluice.alert ORDER BY id")))


@contextmanager
def without_the_function(engine: Engine, name: str) -> Iterator[None]:
    with engine.begin() as connection:
        connection.exec_driver_sql(f"ALTER FUNCTION sluice.{name} RENAME TO not_yet_migrated")
    yield
    with engine.begin() as connection:
        connection.exec_driver_sql(f"ALTER FUNCTION sluice.not_yet_migrated RENAME TO {name}")


@pytest.mark.parametrize("odd", [{0: "\0"}, {0: "\ud800"}, {0: "\0", 7: "\ud800", 8: "a\0b", 19: "\udfff"}])
def test_rows_that_no_database_can_store_are_dropped_alone_and_counted(engine: Engine, odd: dict[int, str]) -> None:
    log = PredictionLog(engine)
    add_rows(log, odd, 20)
    log.flush()
    assert ids(engine) == [f"r{number}" for number in range(20) if number not in odd]
    assert (log.written, log.dropped) == (20 - len(odd), len(odd))
    add_rows(log, {}, 1)
    log.flush()
    assert ids(engine)[20 - len(odd) :] == ["r0"]


def test_a_text_that_only_spells_the_escape_is_kept(engine: Engine) -> None:
    log = PredictionLog(engine)
    add_rows(log, {0: r"\u0000", 1: r"\ud800", 2: "\U0001f600"}, 3)
    log.flush()
    assert [each.inputs[0] for each in logged(engine)] == [r"\u0000", r"\ud800", "\U0001f600"]


def test_what_was_written_is_not_written_again_when_the_rest_must_wait(engine: Engine) -> None:
    log = PredictionLog(engine)
    add_rows(log, {2: "\0"}, 4)  # tried all at once, then two by two
    with ExitStack() as after_the_first_two:
        event.listen(
            engine,
            "commit",
            lambda _: after_the_first_two.enter_context(without_the_function(engine, "log_predictions")),
            once=True,
        )
        log.flush()
        assert (log.written, log.dropped) == (2, 0)
    log.flush()
    assert ids(engine) == ["r0", "r1", "r3"]
    assert (log.written, log.dropped) == (3, 1)


def test_alerts_are_raised_whatever_becomes_of_the_rows(engine: Engine) -> None:
    log = PredictionLog(engine)
    add_rows(log, {}, 2)
    log.alert("iris", "version 2 could not be loaded", "it is not what the ledger says")
    with without_the_function(engine, "log_predictions"):
        log.flush()
        assert [each.run_id for each in alerts(engine)] == ["version 2 could not be loaded"]
        assert (log.written, log.dropped) == (0, 0)
    log.flush()
    assert ids(engine) == ["r0", "r1"]


def test_rows_are_written_whatever_becomes_of_the_alerts(engine: Engine) -> None:
    log = PredictionLog(engine)
    add_rows(log, {}, 2)
    log.alert("iris", "version 2 could not be loaded", "it is not what the ledger says")
    with without_the_function(engine, "raise_service_alert"):
        log.flush()
        assert ids(engine) == ["r0", "r1"]
    log.flush()
    assert [each.run_id for each in alerts(engine)] == ["version 2 could not be loaded"]
    assert ids(engine) == ["r0", "r1"]


def test_an_alert_that_comes_while_others_are_written_is_not_lost(engine: Engine) -> None:
    log = PredictionLog(engine)
    log.alert("iris", "version 1 could not be loaded", "why")
    event.listen(engine, "commit", lambda _: log.alert("trip", "version 9 could not be loaded", "why"), once=True)
    log.flush()
    log.flush()
    assert [each.model for each in alerts(engine)] == ["iris", "trip"]


def test_an_alert_is_raised_although_it_quotes_what_no_database_can_store(engine: Engine) -> None:
    log = PredictionLog(engine)
    log.alert("iris", "version 1 could not be loaded", "found \0 in the file \udc80.onnx")
    log.flush()
    assert [each.error for each in alerts(engine)] == ["found ? in the file ?.onnx"]


def test_a_category_that_no_log_can_hold_harms_nothing_else(
    harness: Any, service: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lenient = Path(shutil.copytree(harness.candidates("trip", 0), tmp_path / "lenient"))
    signature = json.loads((lenient / "signature.json").read_text())
    signature["features"][1]["handle_unknown"] = "ignore"
    (lenient / "signature.json").write_text(json.dumps(signature))
    monkeypatch.setattr(harness, "candidates", lambda *_: lenient)
    harness.declare("trip")
    harness.champion("trip")
    service.watcher.poll_once()
    watched = Watched(service, harness.engine, service_sample_rate=1.0, service_access_log_payloads=True)
    for carrier in ("\0", "\ud800", "ZZ"):
        row = {"distance": 10.5, "carrier": carrier, "weekend": True}
        assert watched.predict(row, "trip").status_code == 200
    watched.recorder.flush_predictions()
    assert [each.inputs["carrier"] for each in logged(harness.engine)] == ["ZZ"]
    answer = watched.client.get("/metrics")
    assert answer.status_code == 200
    shown = answer.get_data(as_text=True)
    assert value(shown, "sluice_prediction_log_rows_total") == 1
    assert value(shown, "sluice_log_records_dropped_total", log="prediction") == 2
    assert [each["features"][0]["carrier"] for each in watched.lines] == ["\0", "?", "ZZ"]


def test_old_predictions_are_removed_as_new_ones_come(engine: Engine) -> None:
    log = PredictionLog(engine, days=7)
    log.add(context_of(3))
    log.flush()
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "UPDATE sluice.prediction_log SET predicted_at = now() - interval '8 days' WHERE position > 0"
        )
    log.add(context_of(1))
    log.flush()
    assert [each.position for each in logged(engine)] == [0, 0]


def test_a_role_that_may_only_read_writes_by_the_two_functions_and_by_nothing_else(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP ROLE IF EXISTS only_reader")
        connection.exec_driver_sql("CREATE ROLE only_reader IN ROLE sluice_reader")
        connection.exec_driver_sql("SET ROLE only_reader")
        entry = (
            '[{"predicted_at": "2026-01-01T00:00:00Z", "model": "m", "version": 1, "request_id": "r", "position": 0, '
        )
        entry += '"inputs": [1], "outputs": {"value": 1}}]'
        added = connection.execute(
            text("SELECT sluice.log_predictions(CAST(:e AS jsonb), '1 day')"), {"e": entry}
        ).scalar_one()
        raised = connection.exec_driver_sql("SELECT sluice.raise_service_alert('m', 'x', 'y')").scalar_one()
        again = connection.exec_driver_sql("SELECT sluice.raise_service_alert('m', 'x', 'y')").scalar_one()
        assert (added, raised, again) == (1, True, False)
        connection.exec_driver_sql("RESET ROLE")
        connection.exec_driver_sql("DROP ROLE only_reader")


NOTE_CALLS = 100


def test_noting_a_request_costs_few_calls_and_none_of_the_system(settled: Any) -> None:
    watched = Watched(settled)
    context = context_of(1)
    context.timings = [(phase, 1000) for phase in ("decode", "validate", "predict", "encode")]
    for _ in range(3):  # the first makes what the others use
        watched.recorder.on_end(context, 200)
    called: list[str] = []

    def profile(_frame: Any, event: str, function: Any) -> None:
        if event in ("call", "c_call"):
            called.append(getattr(function, "__qualname__", "") or "")

    sys.setprofile(profile)
    try:
        watched.recorder.on_end(context, 200)
    finally:
        sys.setprofile(None)
    assert 0 < len(called) < NOTE_CALLS, called  # about 3 microseconds on a quiet machine
    assert not {"write", "open", "flush", "fsync"} & {name.rsplit(".", 1)[-1] for name in called}


# -- as it really runs -----------------------------------------------------------------------------


def page(service: Any) -> str:
    import urllib.request

    with urllib.request.urlopen(f"http://127.0.0.1:{service.port}/metrics", timeout=5) as answer:
        return str(answer.read().decode())


def ask_many(service: Any, times: int, threads: int = 4) -> None:
    def ask() -> None:
        for _ in range(times):
            assert service.ask("POST", "/predict", {"features": SETOSA})[0] == 200

    running = [threading.Thread(target=ask) for _ in range(threads)]
    for each in running:
        each.start()
    for each in running:
        each.join()


def test_metrics_are_right_over_all_workers_and_survive_the_death_of_one(
    harness: Any, run_service: Callable[..., Any]
) -> None:
    harness.declare("iris")
    harness.champion("iris")
    service = run_service(workers=2)
    service.wait_until(lambda: service.ask("GET", "/ready")[0] == 200)
    ask_many(service, 50)
    count = "sluice_http_request_duration_seconds_count"
    service.wait_until(lambda: value(page(service), count, model="iris", status=200) == 200)
    time.sleep(1.1)  # a worker may answer with a text that is a second old
    for _ in range(5):  # whichever worker is asked
        shown = page(service)
        assert value(shown, count, model="iris", status=200) == 200
        assert value(shown, "sluice_model_ready", model="iris") == 1
    service.wait_until(lambda: len(re.findall(r"sluice_model_version\{.*pid=.*\} 1\.0", page(service))) == 2)
    dead, other = psutil.Process(service.process.pid).children()
    os.kill(dead.pid, signal.SIGKILL)
    dead.wait(5)

    def one_is_left_and_one_came() -> bool:
        pids = set(re.findall(r'sluice_model_version\{[^}]*pid="(\d+)"', page(service)))
        return len(pids) == 2 and str(dead.pid) not in pids and str(other.pid) in pids

    service.wait_until(one_is_left_and_one_came)
    assert value(page(service), count, model="iris", status=200) == 200
    ask_many(service, 5)
    service.wait_until(lambda: value(page(service), count, model="iris", status=200) == 220)


def test_a_restart_begins_its_counts_anew(harness: Any, run_service: Callable[..., Any]) -> None:
    harness.declare("iris")
    harness.champion("iris")
    first = run_service()
    first.wait_until(lambda: first.ask("GET", "/ready")[0] == 200)
    ask_many(first, 5)
    assert first.stop() == 0
    second = run_service(port=first.port)
    second.wait_until(lambda: second.ask("GET", "/ready")[0] == 200)
    assert value(page(second), "sluice_http_request_duration_seconds_count", model="iris") == 0


def test_the_line_of_the_last_request_is_written_before_the_worker_ends(
    harness: Any, run_service: Callable[..., Any]
) -> None:
    harness.declare("iris")
    harness.champion("iris")
    service = run_service(workers=2)
    service.wait_until(lambda: service.ask("GET", "/ready")[0] == 200)
    ask_many(service, 10)
    assert service.stop() == 0
    lines = [json.loads(each) for each in service.log.read_text().splitlines() if each.startswith('{"time"')]
    assert sum(each["route"] == "/predict" and each["status"] == 200 for each in lines) == 40


def test_a_fault_of_the_service_shows_no_trace_and_no_value_unless_asked(
    settled: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched = Watched(settled)

    def break_on(_self: Any, values: Any) -> None:
        raise RuntimeError(f"a private value: {values[0]}")

    monkeypatch.setattr("include.inference.Scorer.score_one", break_on)
    answer = watched.predict([7.25, 3.5, 1.4, 0.2], **{"X-Request-ID": "order-17"})
    watched.recorder.flush()
    assert answer.status_code == 500
    assert "request order-17 failed: RuntimeError at" in caplog.text
    assert "test_observability.py:" in caplog.text
    for shown in (answer.get_data(as_text=True), caplog.text, watched.lines.written.decode()):
        assert "Traceback" not in shown
        assert "7.25" not in shown
    with caplog.at_level("DEBUG", "model_service"):
        watched.predict([7.25, 3.5, 1.4, 0.2])
    assert "Traceback" in caplog.text
