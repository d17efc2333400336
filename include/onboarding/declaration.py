"""From a table to a model's folder: read, propose, try, write."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, Engine

from include.errors import NotEnoughDataError, SourceTableError
from include.models import read_spec
from include.models.skeleton import check_new_model
from include.onboarding import periods, reading, rendering, trial
from include.onboarding.names import identifier, printable
from include.onboarding.records import (
    Density,
    EstimatorKind,
    LeftOut,
    PartCounts,
    Proposal,
    ProposalOptions,
    Roles,
    SourceColumn,
    TableProfile,
    Window,
)
from include.onboarding.roles import (
    KeyCandidate,
    choose_time,
    key_candidates,
    key_expressions,
    no_key,
    propose_roles,
    resolve_names,
)
from include.spec import Columns, ModelSpec
from include.spec.features_query import bind_period

KINDS: Final[tuple[EstimatorKind, ...]] = ("boosting", "forest", "linear")
_MADE_BY_DEFAULT: Final = "source"
_RECENT: Final = timedelta(days=1)
_LISTED: Final = 12


@dataclass(frozen=True, slots=True)
class Onboarded:
    """A model's new folder, what was found and decided, and the commands that come next."""

    folder: Path
    findings: tuple[str, ...]
    next_commands: tuple[str, ...]


def declare_from_table(
    engine: Engine, models_dir: Path, model: str, table: str, options: ProposalOptions, *, command: str, now: datetime
) -> Onboarded:
    """Write ``<models_dir>/<model>/`` for a table or view; nothing is overwritten.

    Parameters
    ----------
    table : str
        ``schema.table``.
    command : str
        What the user ran, for the comment in ``features.sql``.
    now : datetime
        Decides whether the rows are so old that a retrain of today has none.

    Raises
    ------
    SpecError
        When the name cannot be a model's, or the folder exists.
    SourceTableError
        When the table cannot be read, or has no key, event time, target or feature.
    NotEnoughDataError
        When it has too few labelled rows, or all at one time.
    """
    check_new_model(models_dir, model)
    schema, name = reading.parse_table_name(table)
    with engine.connect().execution_options(isolation_level="REPEATABLE READ") as connection, reading.readable(table):
        profile = reading.read_profile(connection, schema, name)
        return declare(connection, models_dir, model, profile, options, command=command, now=now)


def declare(
    connection: Connection,
    models_dir: Path,
    model: str,
    table: TableProfile,
    options: ProposalOptions,
    *,
    command: str,
    now: datetime,
) -> Onboarded:
    """Write a model's folder for a table that was read in the transaction of `connection`; see `declare_from_table`."""
    _require_rows(table)
    options = resolve_names(table, options)
    time, candidate = choose_key(connection, table, options)
    roles = propose_roles(table, options, time, candidate)
    density = reading.read_density(connection, roles)
    if density is None or density.oldest == density.newest:
        raise _one_time(table, roles)
    schedule = periods.choose_schedule(density, _Uniqueness(connection, roles))
    if schedule is None:  # a key twice in an hour: the time is a part of what a row is
        candidate = replace(candidate, joins_time=True, with_time=False)
        roles = propose_roles(table, options, time, candidate)
        schedule = periods.choose_schedule(density, lambda _unit: True)
    assert schedule is not None  # noqa: S101  # each key occurs once now
    window = periods.choose_window(density)
    roles, counts, sample = _without_useless(connection, table, roles, window, command)
    proposal = Proposal(
        model=model,
        source=f"{identifier(table.schema)}.{identifier(table.name)}",
        command=command,
        roles=roles,
        window=window,
        schedule=schedule,
        counts=counts,
        freshness=periods.choose_freshness(density),
        retrain=None if periods.is_old(density, now) else "0 5 * * 1",
        estimator="boosting",
    )
    chosen = trial.choose_estimator(dict(_specs(proposal)), sample, counts.train)
    proposal = replace(proposal, estimator=chosen.kind, calibration_error=chosen.calibration_error)
    return Onboarded(
        folder=_write(proposal, models_dir),
        findings=tuple(_findings(table, proposal, density, chosen)),
        next_commands=_next_commands(proposal, density, now),
    )


def choose_key(
    connection: Connection, table: TableProfile, options: ProposalOptions
) -> tuple[SourceColumn | None, KeyCandidate]:
    """Return the event time (None: of the rows' order) and the key; the database says what is unique.

    Raises
    ------
    SourceTableError
        When there is none of the two.
    """
    options = resolve_names(table, options)
    time = choose_time(table, options, _like_times(connection, table, options))
    for candidate in key_candidates(table, options, time.column if time else None):
        if candidate.is_known:
            return time, candidate
        if reading.count_distinct(connection, table, key_expressions(table, candidate, time)) == table.rows:
            return time, candidate
    raise no_key(table, options)


@dataclass(frozen=True, slots=True)
class _Uniqueness:
    connection: Connection
    roles: Roles

    def __call__(self, unit: str) -> bool:
        return self.roles.unique_key or reading.is_unique_within(self.connection, self.roles, unit)


def _like_times(connection: Connection, table: TableProfile, options: ProposalOptions) -> list[str]:
    if options.time or options.time_from_order or any(column.type in reading.TIMES for column in table.columns):
        return []
    return reading.columns_like_times(connection, table)


def _without_useless(
    connection: Connection, table: TableProfile, roles: Roles, window: Window, command: str
) -> tuple[Roles, PartCounts, trial.Sample]:
    """Return the roles without features that are constant or leak in the window, the counts, and a sample."""
    query = _bound(roles, window, command)
    counts = reading.count_parts(connection, query, roles, window)
    _require_parts(table, roles, counts)
    constant = reading.constant_in_part(connection, query, roles, window)
    roles = _leave_out(table, roles, {name: f"the same value in all {where} rows" for name, where in constant.items()})
    labelled = counts.train + counts.holdout
    query = _bound(roles, window, command)
    sample = trial.read_sample(connection, query, roles, window.end - window.holdout, labelled)
    leaking = trial.leaking_features(sample, roles)
    return _leave_out(table, roles, leaking), counts, sample.without(list(leaking))


def _bound(roles: Roles, window: Window, command: str) -> str:
    text = rendering.render_query(roles, command)
    return bind_period(text, window.end - window.holdout - window.train, window.end)


def _leave_out(table: TableProfile, roles: Roles, reasons: dict[str, str]) -> Roles:
    if not reasons:
        return roles
    kept = tuple(each for each in roles.features if each[0].name not in reasons)
    left_out = (*roles.left_out, *(LeftOut(name, reason) for name, reason in reasons.items()))
    if not kept:
        listed = "; ".join(f"{printable(each.column)}: {each.reason}" for each in left_out)
        raise SourceTableError(
            f"{table.schema}.{table.name}: expected a column that can be a feature; every column was left out "
            f"({listed[:600]}). Nothing was written. Add columns to the table, or name another target with --target."
        )
    return replace(roles, features=kept, left_out=left_out)


def _require_rows(table: TableProfile) -> None:
    needed = 2 * periods.MIN_PART_ROWS
    if table.rows < needed:
        raise NotEnoughDataError(
            f"{table.schema}.{table.name}: expected at least {needed} rows, {periods.MIN_PART_ROWS} to train on and "
            f"{periods.MIN_PART_ROWS} for the holdout; found {table.rows}. Nothing was written. Load more rows first."
        )


def _one_time(table: TableProfile, roles: Roles) -> NotEnoughDataError:
    return NotEnoughDataError(
        f"{table.schema}.{table.name}: expected labelled rows at several times of {roles.time.name}, since a model is "
        "trained on older rows and evaluated on later ones; found one time, or no row with both a time and a "
        f"{roles.target.name}. Nothing was written. Name another column with --time or --target, or load more rows."
    )


def _require_parts(table: TableProfile, roles: Roles, counts: PartCounts) -> None:
    where = f"{table.schema}.{table.name}"
    for part, rows in (("older", counts.train), ("newest", counts.holdout)):
        if rows < periods.MIN_PART_ROWS:
            raise NotEnoughDataError(
                f"{where}: expected at least {periods.MIN_PART_ROWS} labelled rows in the {part} part of the table; "
                f"found {rows} ({counts.train} older ones to train on, {counts.holdout} later ones for the holdout). "
                "Nothing was written. Load more rows, or rows of more times."
            )
    missing = [label for label in roles.classes if not counts.train_by_class.get(label)]
    if missing:
        raise NotEnoughDataError(
            f"{where}: expected rows of every class among the older four fifths; found none of "
            f"{', '.join(map(printable, missing))}. Nothing was written. If the rows are sorted by {roles.target.name} "
            "and have no real time, shuffle them: --time-from-order 2026-01-01/1h/shuffled. Otherwise load older rows "
            "of these classes, or leave the classes out in a view."
        )


def _specs(proposal: Proposal) -> Iterator[tuple[EstimatorKind, ModelSpec]]:
    """Yield the declaration with each estimator, read back from its text as every declaration is."""
    for kind in KINDS:
        with tempfile.TemporaryDirectory() as folder:
            yield kind, read_spec(_write(replace(proposal, estimator=kind), Path(folder)) / "spec.py")


def _write(proposal: Proposal, models_dir: Path) -> Path:
    """Write the folder, ``spec.py`` last and at once: a scheduler that looks meanwhile finds a whole model or none."""
    folder = check_new_model(models_dir, proposal.model)
    models_dir.mkdir(parents=True, exist_ok=True)
    folder.mkdir()
    try:
        (folder / "features.sql").write_text(rendering.render_query(proposal.roles, proposal.command), encoding="utf-8")
        staged = folder / "spec.py.new"
        staged.write_text(rendering.render_spec(proposal), encoding="utf-8")
        staged.rename(folder / "spec.py")
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return folder


def _findings(table: TableProfile, proposal: Proposal, density: Density, chosen: trial.Trial) -> Iterator[str]:
    roles, window, counts = proposal.roles, proposal.window, proposal.counts
    yield f"table: {table.schema}.{table.name}, {table.rows:,} rows, {len(table.columns)} columns"
    yield from roles.findings
    numbers = Columns(tuple(feature for feature, _ in roles.features)).numeric
    yield f"features: {_describe_features(roles)}" + ("; fill in the units of the numbers" if numbers else "")
    for each in roles.left_out[:_LISTED]:
        yield f"left out: {printable(each.column)}: {printable(each.reason)}"
    if len(roles.left_out) > _LISTED:
        yield f"left out: {len(roles.left_out) - _LISTED} more; features.sql names all"
    yield (
        f"rows: {density.oldest:%Y-%m-%d %H:%M} to {density.newest:%Y-%m-%d %H:%M} UTC; "
        f"{counts.train:,} to train on ({rendering.duration(window.train)}), "
        f"{counts.holdout:,} for the holdout ({rendering.duration(window.holdout)})"
    )
    yield f"scores: {proposal.schedule.description}, {proposal.schedule.low:,} to {proposal.schedule.high:,} rows each"
    yield f"estimator: {_describe_estimator(chosen, roles)}"
    if table.schema != _MADE_BY_DEFAULT:
        schema = table.quoted.split(".")[0]
        yield (
            f"rights: Airflow's tasks read {table.schema}.{table.name}, too; if they use a role of their own, grant it "
            f"USAGE ON SCHEMA {schema} and SELECT ON {table.quoted}"
        )


def _describe_features(roles: Roles) -> str:
    counts = Counter(feature.kind for feature, _ in roles.features)
    return ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items(), reverse=True))


def _describe_estimator(chosen: trial.Trial, roles: Roles) -> str:
    if not chosen.losses:
        return f"{chosen.kind}; there are too few rows to compare several"
    metric = "log loss" if roles.classes else "mean squared error"
    losses = ", ".join(f"{kind} {loss:.4g}" for kind, loss in sorted(chosen.losses.items(), key=lambda each: each[1]))
    return f"{chosen.kind}, the best on the newer half of the training rows ({metric}: {losses})"


def _next_commands(proposal: Proposal, density: Density, now: datetime) -> tuple[str, ...]:
    is_recent = timedelta(0) <= now - density.newest <= _RECENT and proposal.window.train >= timedelta(days=10)
    as_of = "" if is_recent else f" --as-of {proposal.window.end:%Y-%m-%d}"
    hourly = proposal.schedule.cron.startswith("0 *")
    newest = f"{density.newest:%Y-%m-%dT%H:00}" if hourly else f"{density.newest:%Y-%m-%d}"
    return (f"sluice train {proposal.model}{as_of}", f"sluice score {proposal.model} --partition {newest}")


def columns_of(names: str | None) -> tuple[str, ...]:
    """Return the names in a list that is separated by commas."""
    return tuple(name.strip() for name in (names or "").split(",") if name.strip())
