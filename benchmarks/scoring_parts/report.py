"""Figures of the scoring benchmark become tables and verdicts."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from statistics import median
from typing import Any

from serving_peers.report import machine

BEGIN, END = "<!-- scoring: begin -->", "<!-- scoring: end -->"
NAIVE, ONE, TWO = "naive: read_sql, predict_proba, to_sql", "Sluice, one worker", "Sluice, two workers, 2 shards"
READ, PREDICT, COPY = "read alone", "encode and predict alone", "COPY of the same bytes alone"
AGAIN, LARGE = "Sluice, one worker, a published partition again", "Sluice, one worker, the larger partition"

Measured = Mapping[str, Sequence[Mapping[str, Any]]]


def rate(figures: Measured, name: str) -> float:
    """Return the median of rows a second."""
    return median(each["rows"] / each["seconds"] for each in figures[name])


def peak(figures: Measured, name: str) -> float:
    """Return the greatest memory of a process, MiB."""
    return max(each["peak_mib"] for each in figures[name])


def table(figures: Measured) -> str:
    """Return every way with its rate and its memory."""
    lines = ["| way | rows | rows/s | times naive | peak MiB per process |", "|---|--:|--:|--:|--:|"]
    for name in (NAIVE, ONE, TWO, AGAIN, LARGE, READ, PREDICT, COPY):
        if name not in figures:
            continue
        times = f"{rate(figures, name) / rate(figures, NAIVE):.1f}" if name in (NAIVE, ONE, TWO, AGAIN, LARGE) else ""
        shown = f"**{name}**" if name in (ONE, TWO) else name
        rows = figures[name][0]["rows"]
        lines.append(f"| {shown} | {rows:,} | {rate(figures, name):,.0f} | {times} | {peak(figures, name):.0f} |")
    return "\n".join(lines)


def split(figures: Measured) -> str:
    """Return where the time of one worker goes: the stages overlap, so that they add up to more than the whole."""
    whole = median(each["seconds"] for each in figures[ONE])
    lines = ["| part of one worker's time | seconds | share of the total |", "|---|--:|--:|"]
    for name, what in (
        ("read", "reading: waiting for the database, decoding"),
        ("predict", "encoding and predicting"),
        ("write", "building the COPY's bytes and sending them"),
        ("key", "creating the key, which proves that every key is unique"),
        ("publish", "publishing"),
    ):
        seconds = median(each[f"{name}_seconds"] for each in figures[ONE])
        lines.append(f"| {what} | {seconds:.1f} | {seconds / whole:.0%} |")
    lines.append(f"| total (the first three overlap) | {whole:.1f} | |")
    copy = figures[COPY][0]
    built, copied, keyed, committed = (copy[f"{name}seconds"] for name in ("build_", "", "keyed_", "committed_"))
    lines.append("")
    lines.append(
        f"A row has {copy['bytes'] / copy['rows']:.0f} bytes in COPY. {copy['rows']:,} rows alone: building the "
        f"bytes {built:.1f} s, COPY {copied:.1f} s, with the key {keyed:.1f} s, with the commit {committed:.1f} s."
    )
    return "\n".join(lines)


def cores(figures: Measured) -> str:
    """Return what a row costs in processor time, stage by stage, and what that allows."""
    stages = (
        ("reading", READ, ""),
        ("encoding and predicting", PREDICT, ""),
        ("building the COPY's bytes", COPY, "build_"),
        ("COPY", COPY, ""),
        ("creating the key", COPY, "key_"),
    )
    lines = ["| processor time per row, µs | task | PostgreSQL | both |", "|---|--:|--:|--:|"]

    def line(what: str, client: float, database: float) -> float:
        lines.append(f"| {what} | {client:.2f} | {database:.2f} | {client + database:.2f} |")
        return client + database

    def micros(name: str, prefix: str = "") -> tuple[float, float]:
        found = figures[name]
        client, database = (
            median(each[f"{prefix}{who}_core_seconds"] / each["rows"] * 1e6 for each in found)
            for who in ("client", "database")
        )
        return client, database

    alone = sum(line(f"{what}, alone", *micros(name, prefix)) for what, name, prefix in stages)
    lines.append(f"| sum of these | | | **{alone:.2f}** |")
    ours = line("Sluice, one worker", *micros(ONE))
    count = os.cpu_count() or 1
    most, slowest = count / alone * 1e6, min(rate(figures, name) for name in (READ, PREDICT, COPY))
    busy = ours * rate(figures, ONE) / 1e6 / count
    lines.append("")
    lines.append(
        f"So the maximum on {count} cores is {most:,.0f} rows/s, however well the stages overlap. That is "
        f"{most / slowest:.0%} of the rate of the slowest stage alone, which then has all cores. One worker reached "
        f"{rate(figures, ONE) / most:.0%} of the maximum, with the cores {busy:.0%} busy."
    )
    return "\n".join(lines)


def targets(figures: Measured) -> list[str]:
    """Return a line for each target, and whether it is met."""
    ratio = rate(figures, ONE) / rate(figures, NAIVE)
    slowest = min(rate(figures, name) for name in (READ, PREDICT, COPY))
    rows = [
        ("one worker, times naive", "≥ 9 (goal 12)", f"{ratio:.1f}", ratio >= 9),
        ("one worker, share of the slowest stage alone", "≥ 60%", f"{rate(figures, ONE) / slowest:.0%}",
         rate(figures, ONE) >= 0.6 * slowest),
        ("peak memory of the scoring process", "< 256 MiB", f"{peak(figures, ONE):.0f} MiB", peak(figures, ONE) < 256),
    ]  # fmt: skip
    if LARGE in figures:
        more = peak(figures, LARGE) / peak(figures, ONE) - 1
        rows.append((f"the same at {figures[LARGE][0]['rows']:,} rows", "within 10%", f"{more:+.0%}", more <= 0.1))
    lines = ["| target | limit | measured | |", "|---|--:|--:|---|"]
    return lines + [
        f"| {what} | {want} | {found} | {'met' if kept else '**MISSED**'} |" for what, want, found, kept in rows
    ]


def document(figures: Measured, rounds: int, busy: float) -> str:
    """Return what stands between the markers."""
    about = (
        f"Measured {datetime.now(UTC):%Y-%m-%d %H:%M} UTC on {machine()}; load at the start {busy:.1f}. PostgreSQL, "
        f"embedded and durable, shares the cores. Each measurement runs in a new process; medians of {rounds} "
        "round(s), the ways in alternation. All read the sample's features from one plain table."
    )
    two = (
        f"Two workers are {rate(figures, TWO) / rate(figures, ONE):.2f} times as fast as one on {os.cpu_count()} cores."
    )
    return "\n\n".join((about, "\n".join(targets(figures)), table(figures), two, split(figures), cores(figures)))
