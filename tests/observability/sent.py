"""What is sent by StatsD, read from the code of those that send it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import yaml

from include.observability import MappedMetric, StatsdMapping
from include.observability.statsd_mapping import MetricType
from include.settings import REPOSITORY

_KINDS: dict[str, MetricType] = {"count": "counter", "seconds": "observer", "gauge": "gauge"}
_KINDS_OF_AIRFLOW: dict[str, MetricType] = {"counter": "counter", "gauge": "gauge", "timer": "observer"}


def by_the_pipeline() -> set[tuple[str, MetricType]]:
    """Return every name that a step sends, with its type. A part of the name that varies is a star."""
    found: set[tuple[str, MetricType]] = set()
    for file in (REPOSITORY / "include" / "steps").glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or "telemetry." not in ast.unparse(node.func):
                continue
            method = ast.unparse(node.func).rsplit(".", 1)[1]
            if method == "step":
                found |= {("sluice.*.*.seconds", "observer"), ("sluice.*.*.ok", "counter")}
                found.add(("sluice.*.*.failed", "counter"))
            else:
                assert isinstance(node.args[0], ast.JoinedStr), ast.unparse(node)
                parts = [each.value if isinstance(each, ast.Constant) else "*" for each in node.args[0].values]
                found.add(("sluice." + "".join(map(str, parts)), _KINDS[method]))
    return found


def by_airflow() -> Iterator[tuple[str, MetricType]]:
    """Yield every name that the installed Airflow knows, new and legacy, with its type; a variable is a star."""
    spec = find_spec("airflow")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    (folder,) = spec.submodule_search_locations
    known = Path(folder) / "_shared" / "observability" / "metrics" / "metrics_template.yaml"
    for metric in yaml.safe_load(known.read_text(encoding="utf-8"))["metrics"]:
        stars = dict.fromkeys(metric["name_variables"], "*")
        for name in (metric["name"], metric["legacy_name"]):
            yield f"airflow.{name.format(**stars)}", _KINDS_OF_AIRFLOW[metric["type"]]


def mapped(mapping: StatsdMapping, name: str, kind: MetricType) -> MappedMetric | None:
    """Return what a name with stars becomes."""
    # The only name of which some last parts are mapped, and another one would be of something else.
    return mapping.resolve(name.replace("parity.*", "parity.equal").replace("*", "x"), kind)
