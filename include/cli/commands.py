"""One function for each command: it calls the pipeline and prints the result."""

from __future__ import annotations

import logging
import signal
import subprocess
import sys
import time
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Final

from sqlalchemy import make_url

from include import pipeline
from include.cli import exit_status, person
from include.cli.late_rows import late_rows
from include.cli.onboard import is_onboarding, onboard
from include.errors import NoChampionError, SluiceError
from include.flows import Step
from include.models import DeclaredModels
from include.records import ModelVersion
from include.registry import CARD
from include.resources import Resources, open_resources
from include.schedule import local_day
from include.settings import Settings, child_environment
from include.spec import ModelSpec
from include.warehouse.embedded import binary

_PSQL_LOST_CONNECTION: Final = 2  # psql's exit status; it has written the reason


def migrate(_arguments: Namespace, settings: Settings) -> int:
    """Migrate the schema to the newest revision; without a database URL, that of the embedded server."""
    from include.warehouse import embedded_server
    from include.warehouse import migrate as run_migrations

    url = settings.database_url
    with nullcontext(url) if url else embedded_server(settings.home) as database_url:
        run_migrations(database_url)
    _say("Schemas source, scores and sluice are up to date.")
    return 0


def new(arguments: Namespace, settings: Settings) -> int:
    """Write the skeleton of a model and create its sample table."""
    from include.models.skeleton import check_new_model, write_skeleton
    from include.warehouse.samples import check_new_table, create_skeleton_table

    if is_onboarding(arguments):
        return onboard(arguments, settings)
    check_new_model(settings.models_dir, arguments.model)
    with open_resources(settings) as resources:
        check_new_table(resources.engine, arguments.model)  # before the folder is written: all of it or nothing
        folder = write_skeleton(settings.models_dir, arguments.model)
        create_skeleton_table(resources.engine, arguments.model)
    _say(f"Wrote {folder / 'spec.py'} and {folder / 'features.sql'}, and made the table source.{arguments.model}.")
    _say(f"It can be trained at once: `sluice train {arguments.model}`. Then adapt it.")
    return 0


def samples(_arguments: Namespace, _models: DeclaredModels, resources: Resources) -> int:
    """Load those sample tables that are not loaded yet."""
    from include.warehouse.samples import load_samples

    settings = resources.settings
    loaded = load_samples(resources.engine, dates=settings.sample_dates, today=resources.clock().date())
    for table, rows in loaded.items():
        _say(f"source.{table}: {rows:,} rows")
    return 0


def train(arguments: Namespace, models: DeclaredModels, resources: Resources) -> int:
    """Run every step of a retrain; the last line reports the result."""
    spec, as_of = models[arguments.model], arguments.as_of or resources.clock()
    run_id = f"shell__{resources.clock().isoformat()}"
    actor = person.who()
    run = partial(pipeline.retrain, spec, run_id, as_of, resources, actor=actor, requested_by=actor, around=_timed)
    done = run(until="gate")
    version = done.version
    _show_gates(version)
    if not version.decision.accepted:
        _say(f"Version {version.version} of {spec.name} is registered and rejected; the champion stays.")
        return exit_status.REJECTED
    if arguments.no_promote:
        _say(f"Version {version.version} of {spec.name} is registered; nothing was promoted (--no-promote).")
        return 0
    if version.needs_approval:
        _say(
            f"Version {version.version} of {spec.name} is registered and waits for an approval: another person runs "
            f"`sluice approve {spec.name} {version.version} --comment ...`, then `sluice promote` promotes it."
        )
        return 0
    promotion = run(**vars(done)).promotion
    assert promotion is not None  # noqa: S101  # accepted, and no approval is needed
    _say(f"Version {promotion.to_version} of {spec.name} is champion (sequence {promotion.sequence}).")
    return 0


def promote(arguments: Namespace, models: DeclaredModels, resources: Resources) -> int:
    """Promote a version."""
    return _move(arguments.model, arguments.version, arguments.reason, resources, models)


def rollback(arguments: Namespace, models: DeclaredModels, resources: Resources) -> int:
    """Promote the previous champion, or the given version."""
    version = arguments.version
    if version is None:
        former = [promotion.to_version for promotion in resources.ledger.promotions(arguments.model)]
        if not former:
            raise NoChampionError(arguments.model)
        others = [each for each in former if each != former[-1]]
        if not others:
            raise SluiceError(
                f"model '{arguments.model}': expected an earlier champion to roll back to; found only version "
                f"{former[-1]}. `sluice status` lists the versions; `sluice promote` promotes any registered one."
            )
        version = others[-1]
    return _move(arguments.model, version, arguments.reason, resources, models)


def history(arguments: Namespace, models: DeclaredModels, resources: Resources) -> int:
    """List promotions, or print the champion at a time."""
    if arguments.at is not None:
        found = resources.ledger.champion_at(arguments.model, arguments.at)
        if found is None:
            _say(f"{arguments.model} had no champion at {arguments.at.isoformat()}.")
            return 1
        _say(
            f"{arguments.model} at {arguments.at.isoformat()}: version {found.to_version} (sequence {found.sequence})."
        )
        return 0
    promotions = resources.ledger.promotions(arguments.model)
    if not promotions and arguments.model not in models.specs:
        models[arguments.model]  # raises the error that lists the declared models
    _say(f"{'sequence':>8}  {'version':>7}  {'from':>4}  {'at (UTC)':19}  by: why")
    for each in promotions:
        former = "-" if each.from_version is None else str(each.from_version)
        when = f"{each.promoted_at:%Y-%m-%d %H:%M:%S}"
        _say(f"{each.sequence:>8}  {each.to_version:>7}  {former:>4}  {when}  {each.actor}: {each.reason}")
    return 0


def status(_arguments: Namespace, models: DeclaredModels, resources: Resources) -> int:
    """List every declared model with its champion and its newest partition, and broken specs with their error."""
    champions = resources.ledger.champions()
    for name in models.specs:
        versions = resources.ledger.versions(name)
        champion = champions.get(name)
        held = (
            f"champion version {champion.to_version} since {champion.promoted_at:%Y-%m-%d %H:%M} UTC"
            if champion
            else "no champion"
        )
        _say(
            f"{name}: {held}, {len(versions)} version(s) registered, {_newest_partition(models.specs[name], resources)}"
        )
        if champion:
            _say(f"  its card: {_card(name, champion.to_version, resources)}")
        for line in late_rows(models.specs[name], resources):
            _say(f"  {line}")
    for error in models.broken:
        _say(f"broken: {error}")
    return 1 if models.broken else 0


def psql(arguments: Namespace, _models: DeclaredModels, resources: Resources) -> int:
    """Run the embedded psql on the database. The password is in its environment, so it is not in the process list."""
    address = make_url(resources.database_url)
    where = {"-h": address.host, "-p": address.port, "-U": address.username, "-d": address.database}
    command = [binary("psql"), "-P", "pager=off", "-v", "ON_ERROR_STOP=1"]
    for flag, value in where.items():
        command += [] if value is None else [flag, str(value)]
    command += [] if arguments.statement is None else ["-c", arguments.statement]
    environment = child_environment({"PGPASSWORD": str(address.password or "")})
    # Ctrl-C interrupts the statement in psql, not this process. (An ignored signal would be inherited.)
    former = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        status = subprocess.run(command, env=environment, check=False).returncode  # noqa: S603  # arguments, no shell
    finally:
        signal.signal(signal.SIGINT, former)
    return exit_status.DATABASE_FAILED if status == _PSQL_LOST_CONNECTION else status


def _card(model: str, version: int, resources: Resources) -> str:
    digest = resources.ledger.version(model, version).artifact_digest
    return resources.artifacts.locate(model, version, CARD, artifact_digest=digest)


def _newest_partition(spec: ModelSpec, resources: Resources) -> str:
    published = resources.ledger.published_partitions(spec.name)
    if not published:
        return "nothing scored"
    newest = published[-1]
    day = local_day(newest.partition_start, timezone=spec.score_timezone)
    rows = f"{newest.row_count:,} rows" if newest.row_count else "empty: the source had no rows"
    return f"newest partition {day} ({rows})"


def _move(model: str, version: int, reason: str, resources: Resources, models: DeclaredModels) -> int:
    spec = models.specs.get(model)
    promotion = pipeline.move_champion(model, version, person.who(), reason, resources, spec)
    confirmed = promotion.from_version == promotion.to_version
    note = ", as before; the reason is recorded" if confirmed else ""
    _say(f"Version {promotion.to_version} of {model} is champion (sequence {promotion.sequence}){note}.")
    return 0


def _show_gates(version: ModelVersion) -> None:
    for gate in version.decision.gates:
        _say(f"  {gate.gate}: {gate.sentence}")


@contextmanager
def _timed(step: Step) -> Iterator[None]:
    """Print a step's name when it starts, its progress if it is slow, and its duration when it ends."""
    sys.stdout.write(f"{step.name:<9} …")
    sys.stdout.flush()
    started = time.monotonic()
    try:
        with _progress_shown():
            yield
    except SluiceError:
        sys.stdout.write(f" failed after {time.monotonic() - started:.1f} s\n")
        raise
    sys.stdout.write(f" {time.monotonic() - started:.1f} s\n")


@contextmanager
def _progress_shown() -> Iterator[None]:
    """Write the messages of slow scorings to standard error; in Airflow, they are in the task's log."""
    logger = logging.getLogger("include.inference.progress")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("\n  %(message)s"))
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
