"""Which Prometheus metric a StatsD name becomes: the mapping file of Prometheus's statsd-exporter, as far as we use it.

`StatsdReceiver` and a statsd-exporter read the same file, so both show the same series.

Sources
-------
https://github.com/prometheus/statsd_exporter#metric-mapping-and-configuration
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Final, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from include.errors import SluiceError
from include.settings import REPOSITORY

MAPPING_FILE: Final = REPOSITORY / "deploy" / "prometheus" / "statsd_mapping.yaml"

MetricType = Literal["counter", "gauge", "observer"]
"""The types of the mapping file: an observer is a timer."""

_MAX_REMEMBERED: Final = 10_000


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _Buckets(_Strict):
    buckets: Annotated[tuple[float, ...], Field(min_length=1)]


class _Defaults(_Strict):
    observer_type: Literal["histogram"]
    histogram_options: _Buckets


class _Rule(_Strict):
    match: str
    match_type: Literal["glob", "regex"] = "glob"
    match_metric_type: MetricType | None = None
    action: Literal["map", "drop"] = "map"
    name: str
    labels: dict[str, str] = {}
    help: str = "dropped"


class _File(_Strict):
    defaults: _Defaults
    mappings: tuple[_Rule, ...]


@dataclass(frozen=True, slots=True)
class MappedMetric:
    """The series of a StatsD name: the metric, its type, its help text, and labels in the order of their names."""

    name: str
    kind: MetricType
    help: str
    labels: tuple[tuple[str, str], ...]


class StatsdMapping:
    """The rules of a mapping file.

    Parameters
    ----------
    rules : tuple
        As they stand in the file. Patterns with stars come first, then regular expressions; the first that fits counts.
    buckets : tuple of float
        Upper bounds of every histogram, in seconds.
    """

    def __init__(self, rules: tuple[_Rule, ...], buckets: tuple[float, ...]) -> None:
        self.buckets = buckets
        globs = [(_glob(rule.match), rule) for rule in rules if rule.match_type == "glob"]
        regexes = [(re.compile(rule.match), rule) for rule in rules if rule.match_type == "regex"]
        self._rules = globs + regexes
        # Bounded: anybody who can send to the port chooses the names.
        self.resolve = lru_cache(maxsize=_MAX_REMEMBERED)(self._resolve)

    @property
    def metrics(self) -> dict[str, tuple[str, tuple[str, ...]]]:
        """The names that series can have, each with its help text and the names of its labels."""
        return {rule.name: (rule.help, tuple(sorted(rule.labels))) for _, rule in self._rules if rule.action == "map"}

    def _resolve(self, name: str, kind: MetricType) -> MappedMetric | None:
        """Return what becomes of a StatsD name of a type; None: it is dropped."""
        for pattern, rule in self._rules:
            if rule.match_metric_type not in {None, kind}:
                continue
            found = pattern.search(name)
            if found is not None:
                if rule.action == "drop":
                    return None
                labels = tuple(sorted((label, _expand(value, found)) for label, value in rule.labels.items()))
                return MappedMetric(rule.name, kind, rule.help, labels)
        return None


def read_mapping(file: Path = MAPPING_FILE) -> StatsdMapping:
    """Read a mapping file.

    Raises
    ------
    SluiceError
        When it cannot be read, or uses what this module does not know.
    """
    try:
        content = _File.model_validate(yaml.safe_load(file.read_text(encoding="utf-8")))
    except (OSError, yaml.YAMLError, ValidationError) as error:
        raise SluiceError(
            f"{file}: expected a mapping file of statsd-exporter, with what Sluice uses of it; found {error}. "
            "Correct the file."
        ) from error
    return StatsdMapping(content.mappings, content.defaults.histogram_options.buckets)


def _glob(pattern: str) -> re.Pattern[str]:
    """Return a pattern in which each star stands for one part of a name between dots."""
    return re.compile("^" + r"([^.]+)".join(map(re.escape, pattern.split("*"))) + r"\Z")


def _expand(value: str, found: re.Match[str]) -> str:
    return re.sub(r"\$\{?(\d+)\}?", lambda reference: found[int(reference[1])] or "", value)
