"""StatsD, from the programs that really send it to the series that Prometheus reads."""

from __future__ import annotations

import json
import math
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from statsd import StatsClient

from include import pipeline
from include.errors import SluiceError
from include.observability import StatsdReceiver, read_mapping, render
from include.observability.statsd_receiver import OTHER
from include.resources import open_resources
from include.schedule import partition_containing
from include.settings import Settings
from tests.builders import TODAY, declare_model, load_parcels, retrain
from tests.observability import sent

MAPPING = read_mapping()


def series(receiver: StatsdReceiver) -> dict[tuple[str, ...], float]:
    """Return each value by the name of its sample and the values of its labels."""
    return {
        (sample.name, *sample.labels.values()): sample.value
        for metric in receiver.collect()
        for sample in metric.samples
    }


def received(*lines: str, max_series: int = 1_000) -> dict[tuple[str, ...], float]:
    """Return the series after a datagram of `lines`, without histograms' buckets and the counts of lines at 0."""
    receiver = StatsdReceiver(MAPPING, max_series)
    receiver.handle("\n".join(lines).encode())
    return {key: value for key, value in series(receiver).items() if not key[0].endswith("_bucket") and value}


@dataclass
class Listening:
    """A receiver behind a real socket."""

    receiver: StatsdReceiver
    port: int

    def wait_until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < deadline, series(self.receiver)
            time.sleep(0.02)


@pytest.fixture
def listening() -> Iterator[Listening]:
    stopping, receiver = threading.Event(), StatsdReceiver(MAPPING)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        server.bind(("127.0.0.1", 0))
        thread = threading.Thread(target=receiver.serve, args=(server, stopping))
        thread.start()
        yield Listening(receiver, server.getsockname()[1])
        stopping.set()
        thread.join()


# -- who sends -------------------------------------------------------------------------------------


def test_a_retrain_and_a_score_are_series_of_their_model(settings: Settings, listening: Listening) -> None:
    statsd = settings.model_copy(update={"statsd_host": "127.0.0.1", "statsd_port": listening.port})
    with open_resources(statsd) as resources:
        load_parcels(resources.engine)
        spec = declare_model(settings.home / "models")
        pipeline.promote_candidate(spec, retrain(spec, "train", resources), "somebody", resources)
        day = partition_containing(None, TODAY - timedelta(days=3))
        pipeline.score(spec, "score", day, resources)
    found: dict[tuple[str, ...], float] = {}

    def arrived() -> bool:
        found.update(series(listening.receiver))
        return found.get(("sluice_steps_total", "parcels", "ok", "publish")) == 1

    listening.wait_until(arrived)
    assert found["sluice_promotions_total", "parcels"] == 1
    assert found["sluice_gate_verdicts_total", "parcels", "accepted"] == 1
    assert found["sluice_scored_rows_total", "parcels"] == 40
    assert found["sluice_training_rows", "parcels"] > 0
    for step in ("snapshot", "train", "export", "parity", "evaluate", "plan", "score", "publish"):
        assert found["sluice_steps_total", "parcels", "ok", step] == 1
        assert found["sluice_step_duration_seconds_count", "parcels", step] == 1
    assert found["sluice_score_stage_duration_seconds_count", "parcels", "predict"] == 1
    assert found["sluice_statsd_lines_total", "dropped"] == found["sluice_statsd_lines_total", "invalid"] == 0


def test_every_name_that_the_pipeline_sends_is_mapped() -> None:
    names = sent.by_the_pipeline()
    assert {"sluice.*.promotions", "sluice.*.score.*.seconds", "sluice.*.*.ok"} <= {name for name, _ in names}
    assert [name for name, kind in names if sent.mapped(MAPPING, name, kind) is None] == []


def test_what_airflow_sends_is_mapped_dropped_or_both_and_each_rule_for_airflow_is_of_a_real_name(
    listening: Listening, tmp_path: Path
) -> None:
    program = Path(__file__).with_name("send_airflow_metrics.py")
    done = subprocess.run(
        [sys.executable, str(program), str(listening.port)],
        env=os.environ | {"AIRFLOW_HOME": str(tmp_path), "PYTHONPATH": ""},
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    )
    lines_sent = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    lines = sum(len(each["names"]) for each in lines_sent)
    assert lines > 150

    def handled() -> float:
        found = series(listening.receiver)
        return sum(value for key, value in found.items() if key[0] == "sluice_statsd_lines_total")

    listening.wait_until(lambda: handled() == lines)
    found = series(listening.receiver)
    assert found["sluice_statsd_lines_total", "invalid"] == found["sluice_statsd_lines_total", "overflow"] == 0
    assert found["airflow_scheduler_heartbeat_total",] == 1
    assert found["airflow_task_finishes_total", "score_iris", "success", "publish"] == 1
    assert found["airflow_task_duration_seconds_sum", "score_iris", "publish"] == 1.5
    assert found["airflow_pool_open_slots", "some_pool_name"] == 7
    # Each rule has made a series: Airflow still sends what the rule is for.
    made = {metric.name for metric in listening.receiver.collect()}
    assert {name.removesuffix("_total") for name in MAPPING.metrics if name.startswith("airflow_")} <= made


def test_a_timing_of_the_service_is_dropped_because_its_own_page_has_it() -> None:
    assert received("sluice.service.iris.1.v1_models_name_predict.200.request:0.2103|ms|@0.1") == {
        ("sluice_statsd_lines_total", "dropped"): 1
    }


# -- the protocol ----------------------------------------------------------------------------------


def test_the_client_of_the_statsd_package_is_understood(listening: Listening) -> None:
    client = StatsClient("127.0.0.1", listening.port, prefix="airflow")
    client.incr("scheduler_heartbeat")
    client.incr("scheduler_heartbeat", 2)
    client.gauge("dagbag_size", 12)
    client.gauge("dagbag_size", -2, delta=True)
    client.timing("scheduler.scheduler_loop_duration", 250)
    client.gauge("scheduler.tasks.starving", -3)  # two lines: 0, and then 3 less
    with client.pipeline() as several:  # many lines in a datagram
        several.incr("triggerer_heartbeat")
        several.incr("dag_processor_heartbeat")
    last = ("airflow_dag_processor_heartbeat_total",)
    listening.wait_until(lambda: series(listening.receiver).get(last) == 1)
    found = series(listening.receiver)
    assert found["airflow_scheduler_heartbeat_total",] == 3
    assert found["airflow_dagbag_size",] == 10
    assert found["airflow_scheduler_tasks_starving",] == -3
    assert found["airflow_scheduler_loop_duration_seconds_sum",] == 0.25
    assert found["airflow_triggerer_heartbeat_total",] == 1
    client.close()


def test_a_sampled_line_stands_for_all_of_which_it_is_a_sample() -> None:
    found = received("airflow.scheduler_heartbeat:1|c|@0.1", "airflow.scheduler.scheduler_loop_duration:100|ms|@0.5")
    assert found["airflow_scheduler_heartbeat_total",] == 10
    assert found["airflow_scheduler_loop_duration_seconds_count",] == 2


@pytest.mark.parametrize(
    "line",
    [
        "airflow.scheduler_heartbeat",
        "airflow.scheduler_heartbeat:",
        "airflow.scheduler_heartbeat:1",
        "airflow.scheduler_heartbeat:one|c",
        "airflow.scheduler_heartbeat:-1|c",
        "airflow.scheduler_heartbeat:nan|c",
        "airflow.scheduler_heartbeat:inf|c",
        "airflow.scheduler_heartbeat:1|x",
        "airflow.scheduler_heartbeat:1|c|0.1",
        "airflow.scheduler_heartbeat:1|c|@0",
        "airflow.scheduler_heartbeat:1|c|@2",
        "airflow.scheduler_heartbeat:1|c|@0.1|#tag:x",
        ":1|c",
        "\x00\x01\x02",
    ],
)
def test_a_line_that_is_not_of_the_protocol_is_counted_and_changes_nothing(line: str) -> None:
    assert received(line) == {("sluice_statsd_lines_total", "invalid"): 1}


def test_bytes_of_any_kind_stop_nothing() -> None:
    receiver = StatsdReceiver(MAPPING)
    receiver.handle(bytes(range(256)) * 20)
    receiver.handle(b"airflow.scheduler_heartbeat:1|c")
    assert series(receiver)["airflow_scheduler_heartbeat_total",] == 1
    render(receiver.collect())


def test_a_name_with_two_types_keeps_the_first() -> None:
    found = received("airflow.scheduler_heartbeat:1|c", "airflow.scheduler_heartbeat:5|g")
    assert found["airflow_scheduler_heartbeat_total",] == 1
    assert found["sluice_statsd_lines_total", "invalid"] == 1


# -- bounds ----------------------------------------------------------------------------------------


def test_beyond_the_maximum_of_series_the_others_are_counted_together() -> None:
    lines = [f"sluice.model{number}.promotions:1|c" for number in range(50)]
    found = received(*lines, *lines, max_series=10)
    counts = {key[1]: value for key, value in found.items() if key[0] == "sluice_promotions_total"}
    assert len(counts) == 11
    assert counts["model0"] == 2
    assert counts[OTHER] == 80
    assert found["sluice_statsd_lines_total", "overflow"] == 80


def test_a_label_that_is_too_long_is_counted_as_other() -> None:
    found = received(f"sluice.{'x' * 200}.promotions:1|c")
    assert found["sluice_promotions_total", OTHER] == 1


def test_ten_thousand_names_make_as_many_series_as_the_mapping_and_the_maximum_allow() -> None:
    receiver = StatsdReceiver(MAPPING, max_series=100)
    for number in range(200):
        names = "\n".join(f"sluice.m{number}.s{each}.ok:1|c\nnobody.knows.{number}.{each}:1|c" for each in range(25))
        receiver.handle(names.encode())
    found = series(receiver)
    assert sum(value for key, value in found.items() if key[0] == "sluice_steps_total") == 5_000
    assert len([key for key in found if key[0] == "sluice_steps_total"]) == 101
    assert found["sluice_statsd_lines_total", "dropped"] == 5_000


# -- the mapping file ------------------------------------------------------------------------------


def test_a_star_stands_for_one_part_of_a_name() -> None:
    assert MAPPING.resolve("sluice.iris.promotions", "counter") is not None
    assert MAPPING.resolve("sluice.iris.more.promotions", "counter") is None
    assert MAPPING.resolve("sluice..promotions", "counter") is None


def test_the_first_rule_that_fits_counts() -> None:
    verdict = MAPPING.resolve("sluice.iris.parity.equal", "counter")
    step = MAPPING.resolve("sluice.iris.parity.ok", "counter")
    assert verdict is not None
    assert step is not None
    assert verdict.name == "sluice_parity_checks_total"
    assert (step.name, dict(step.labels)["outcome"]) == ("sluice_steps_total", "ok")


def test_rules_of_one_metric_have_the_same_labels_and_help() -> None:
    rules: dict[str, set[tuple[str, tuple[str, ...]]]] = {}
    for _, rule in MAPPING._rules:
        if rule.action == "map":
            rules.setdefault(rule.name, set()).add((rule.help, tuple(sorted(rule.labels))))
    assert {name: kinds for name, kinds in rules.items() if len(kinds) > 1} == {}
    assert all(re.fullmatch(r"[a-z_]+", name) for name in rules)


@pytest.mark.parametrize("content", ["mappings: [", "mappings: []", "defaults: {observer_type: summary}\nmappings: []"])
def test_a_mapping_file_that_we_do_not_understand_is_refused_with_its_name(tmp_path: Path, content: str) -> None:
    file = tmp_path / "mapping.yaml"
    file.write_text(content)
    with pytest.raises(SluiceError, match=re.escape(str(file))):
        read_mapping(file)


def test_the_buckets_are_seconds_in_order() -> None:
    assert list(MAPPING.buckets) == sorted(MAPPING.buckets)
    assert all(math.isfinite(bound) for bound in MAPPING.buckets)
