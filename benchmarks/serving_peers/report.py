"""Figures become tables, and a verdict on each target."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from serving_peers.servers import EMPTY_FLASK, FASTAPI, NAIVE, OURS
from serving_peers.tensors import Compared
from serving_peers.trained import MODELS
from serving_peers.wrk import Load

Cell = tuple[str, str, int, int]  # server, model, rows, connections
Figures = Mapping[Cell, Sequence[Load]]

BEGIN, END = "<!-- serving: begin -->", "<!-- serving: end -->"
LEAST_OF_BARE = 0.7


def middle(loads: Sequence[Load]) -> Load:
    """Return the medians of several rounds."""
    columns = [[getattr(each, name) for each in loads] for name in ("rate", "p50", "p99")]
    return Load(*(median(column) for column in columns), sum(each.failed for each in loads))


def table(figures: Figures, memory: Mapping[str, float]) -> str:
    """Return every cell as Markdown, the fastest server of each block first."""
    lines = [
        "| model | rows | connections | server | requests/s | p50 ms | p99 ms | times naive | PSS MiB per worker |",
        "|---|--:|--:|---|--:|--:|--:|--:|--:|",
    ]
    blocks = sorted({cell[1:] for cell in figures}, key=lambda block: (MODELS.index(block[0]), block[1:]))
    for block in blocks:
        found = {cell[0]: middle(loads) for cell, loads in figures.items() if cell[1:] == block}
        naive = found.get(NAIVE)
        for server, load in sorted(found.items(), key=lambda item: -item[1].rate):
            times = f"{load.rate / naive.rate:.1f}" if naive and naive.rate else ""
            name = f"**{server}**" if server == OURS else server
            failed = f" ({load.failed} failed)" if load.failed else ""
            lines.append(
                f"| {block[0]} | {block[1]} | {block[2]} | {name} | {load.rate:,.0f}{failed} | {load.p50:.2f} | "
                f"{load.p99:.2f} | {times} | {memory[server]:.0f} |"
            )
    return "\n".join(lines)


def targets(figures: Figures, memory: Mapping[str, float], tensors: Compared) -> list[str]:
    """Return a line for each target: the limit, the measured value, and whether it is met."""

    def at(server: str, model: str, connections: int = 8) -> Load:
        return middle(figures[server, model, 1, connections])

    lines = ["| target (one row, 8 connections) | limit | measured | |", "|---|--:|--:|---|"]

    def add(what: str, wanted: str, found: float, unit: str, kept: Callable[[float], bool]) -> None:
        lines.append(f"| {what} | {wanted} | {found:.2f}{unit} | {'met' if kept(found) else '**MISSED**'} |")

    for model, times in (("iris", 80.0), ("flight_delay", 100.0)):
        ours, empty = at(OURS, model), at(EMPTY_FLASK, "iris")
        naive = at(NAIVE, model).rate or 0.1  # not one answer within the time
        add(f"{model}: rate, times naive", f"≥ {times:.0f}", ours.rate / naive, "", times.__le__)
        more = ours.rate / at(FASTAPI, model).rate
        add(f"{model}: rate, times FastAPI + onnxruntime", "≥ 1.5", more, "", (1.5).__le__)
        add(f"{model}: rate, times an empty Flask route", "≥ 1", ours.rate / empty.rate, "", (1.0).__le__)
        add(f"{model}: p99 minus that route's", "≤ 2 ms", ours.p99 - empty.p99, " ms", (2.0).__ge__)
        slower = all(at(OURS, model, 64).rate > at(each, model, 64).rate for each in (NAIVE, FASTAPI))
        kept = slower and at(OURS, model, 64).rate >= at(EMPTY_FLASK, "iris", 64).rate
        add(f"{model}: same order of the servers at 64 connections", "yes", float(kept), "", bool)
    add("PSS per worker, both models loaded", "≤ 80 MiB", memory[OURS], " MiB", (80.0).__ge__)
    what = "flight_delay, OIP binary, 1,000 rows: rows/s, share of plain onnxruntime calls on as many threads"
    add(what, f"≥ {LEAST_OF_BARE}", share(tensors.together), "", LEAST_OF_BARE.__le__)
    lines.append(f"| the same, one request at a time beside one call at a time | none | {share(tensors.alone):.2f} | |")
    return lines


def share(figures: Sequence[tuple[float, float]]) -> float:
    """Return the median of ours over the bare call's."""
    return median(ours / bare for ours, bare in figures)


def machine() -> str:
    """Return what the figures were measured on."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    cpu = named[0] if named else platform.machine()
    return f"{cpu}, {os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}"


def document(sections: Sequence[str], rounds: int, seconds: float, began_at_load: float) -> str:
    """Return what stands between the markers."""
    about = (
        f"Measured {datetime.now(UTC):%Y-%m-%d %H:%M} UTC on {machine()}; load at the start {began_at_load:.1f}. "
        f"`wrk` runs on the same cores. Medians of {rounds} rounds of {seconds:g} s, the servers in alternation. "
        "Sluice runs with authentication (an HS256 token), validation, metrics and the access log; the others have "
        "none of these."
    )
    return "\n\n".join((about, *sections))


def write_between_markers(file: Path, text: str, begin: str = BEGIN, end: str = END) -> None:
    """Replace what stands between the markers of `file`."""
    old = file.read_text(encoding="utf-8")
    if begin not in old:
        raise SystemExit(f"bench: FAILED: {file} has no line {begin}; the figures are above")
    before, _, rest = old.partition(begin)
    file.write_text(f"{before}{begin}\n\n{text}\n\n{end}{rest.partition(end)[2]}", encoding="utf-8")
