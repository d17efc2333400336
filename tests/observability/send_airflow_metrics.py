"""Sends every metric that Airflow knows, as Airflow sends it: its own functions, its own client, once each.

    python send_airflow_metrics.py PORT

Prints one line of JSON for each: its type, and the names that it was sent under.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import airflow
import yaml
from airflow._shared.observability.metrics import stats
from airflow._shared.observability.metrics.statsd_logger import get_statsd_logger
from statsd import StatsClient

VALUES = {"dag_id": "score_iris", "task_id": "publish", "state": "success", "return_code": "0"}


def main(port: int) -> None:
    stats.initialize(
        factory=lambda: get_statsd_logger(stats_class=StatsClient, host="127.0.0.1", port=port, prefix="airflow"),
        export_legacy_names=True,
    )
    known = Path(airflow.__path__[0]) / "_shared" / "observability" / "metrics" / "metrics_template.yaml"
    for metric in yaml.safe_load(known.read_text(encoding="utf-8"))["metrics"]:
        tags = {name: VALUES.get(name, f"some_{name}") for name in metric["name_variables"]}
        name = metric["name"].format(**tags)
        if metric["type"] == "counter":
            stats.incr(name, tags=tags)
        elif metric["type"] == "gauge":
            stats.gauge(name, 7, tags=tags)
        else:
            stats.timing(name, 1500.0, tags=tags)
        legacy = metric["legacy_name"].format(**tags)
        names = [f"airflow.{each}" for each in (legacy, name) if each != "-"]
        print(json.dumps({"type": metric["type"], "names": names}))


main(int(sys.argv[1]))
