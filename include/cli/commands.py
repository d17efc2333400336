"""One function for each command: it calls the pipeline and prints the result."""

from __future__ import annotations

import signal
import subprocess
import sys
from argparse import Namespace
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from typing import Final

from sqlalchemy import make_url

from include import pipeline
from include.cli import exit_status, person
from include.cli.onboard import is_onboarding, onboard
from include.cli.output import show
from include.cli.progress import StepDisplay
from include.cli.versions import card_location
from include.errors import NothingNewError, NotPromotedError
from include.models import DeclaredModels
from include.records import ModelDeletion, ModelVersion, Promotion
from include.registry import active_hold
from include.resources import Resources, open_resources
from include.settings import Settings, child_environment
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
    """Run every step of a retrain; then report the result, where the card is, and what comes next."""
    spec, as_of = models[arguments.model], arguments.as_of or resources.clock()
    run_id = f"shell__{resources.clock().isoformat()}"
    actor, display = person.who(), StepDisplay()
    run = partial(
        pipeline.retrain, spec, run_id, as_of, replace(resources, progress=display), actor=actor, requested_by=actor,
        again=arguments.again, allow_older=arguments.allow_older, around=lambda step: display.step(step.name),
    )  # fmt: skip
    try:
        done = run(until="gate")
    except NothingNewError as same:
        _say(str(same))
        return 0
    version = done.version
    if version.run_id != run_id:
        _say(
            f"Nothing new: version {version.version} (run {version.run_id}) was made from the same rows, declaration, "
            "code and libraries, and never promoted; this run goes on with it."
        )
    _show_gates(version)
    name, number = spec.name, version.version
    if not version.decision.accepted:
        _say(f"Version {number} of {name} is registered and rejected; the champion stays.")
        _show_next(
            version, resources, f'sluice promote {name} {number} --force --reason "..."', "although gates failed"
        )
        return exit_status.REJECTED
    if arguments.no_promote:
        _say(f"Version {number} of {name} is registered; nothing was promoted (--no-promote).")
        _show_next(version, resources, f'sluice promote {name} {number} --reason "..."')
        return 0
    if version.needs_approval:
        _say(
            f"Version {number} of {name} is registered and waits for an approval: another person runs "
            f"`sluice approve {name} {number} --comment ...`, then `sluice promote` promotes it."
        )
        _show_next(version, resources, f'sluice approve {name} {number} --comment "..."', "another person")
        return 0
    try:
        promotion = run(**vars(done)).promotion
    except NotPromotedError as refused:
        _say(str(refused))
        _show_next(version, resources, f'sluice promote {name} {number} --reason "..."', "all the same")
        return exit_status.REJECTED
    assert promotion is not None  # noqa: S101  # accepted, and no approval is needed
    _say(f"Version {promotion.to_version} of {name} is champion (sequence {promotion.sequence}).")
    _show_next(version, resources, f"sluice score {name}")
    return 0


def _show_next(version: ModelVersion, resources: Resources, command: str, note: str = "") -> None:
    _say(f"Card: {card_location(version, resources)}")
    _say(f"Next: {command}{f'   ({note})' if note else ''}")


def promote(arguments: Namespace, models: DeclaredModels, resources: Resources) -> int:
    """Promote a version."""
    model, spec = arguments.model, models.specs.get(arguments.model)
    promotion = pipeline.move_champion(
        model, arguments.version, person.who(), arguments.reason, resources, spec, force=arguments.force
    )
    confirmed = promotion.from_version == promotion.to_version
    note = ", as before; the reason is recorded" if confirmed else ""
    _say(f"Version {promotion.to_version} of {model} is champion (sequence {promotion.sequence}){note}.")
    if promotion.from_version is not None and (older := _older_data(promotion, resources)):
        _say(older)
    _say_hold(model, resources)
    return 0


def rollback(arguments: Namespace, models: DeclaredModels, resources: Resources) -> int:
    """Promote the champion before the present one again, or the given earlier one."""
    model, spec = arguments.model, models.specs.get(arguments.model)
    promotion = pipeline.roll_back(model, arguments.version, person.who(), arguments.reason, resources, spec)
    _say(
        f"Version {promotion.to_version} of {model} is champion again (sequence {promotion.sequence}); version "
        f"{promotion.from_version} is rolled back."
    )
    _say_hold(model, resources)
    return 0


def _say_hold(model: str, resources: Resources) -> None:
    """Say that promotions are held, if they are, and what lifts the hold."""
    if hold := active_hold(resources.engine, model):
        _say(f"{hold.sentence}: no retrain promotes a version. `sluice hold {model} --lift --reason ...` ends it.")


def _older_data(promotion: Promotion, resources: Resources) -> str:
    """Return that the data of a promoted version end before those of the champion before, if they do."""
    model, version, former = promotion.model, promotion.to_version, promotion.from_version
    assert former is not None  # noqa: S101  # there was a champion
    now, before = (resources.ledger.version(model, each).evaluation.holdout for each in (version, former))
    if now is None or before is None or now.end >= before.end:
        return ""
    ends = f"{now.end:%Y-%m-%d %H:%M} UTC, before those of version {former} ({before.end:%Y-%m-%d %H:%M} UTC)"
    return f"Its data end at {ends}."


def history(arguments: Namespace, models: DeclaredModels, resources: Resources) -> int:
    """List promotions, or print the champion at a time."""
    model = arguments.model
    if arguments.at is not None:
        found = resources.ledger.champion_at(model, arguments.at, with_deleted=True)
        when = arguments.at.isoformat()
        held = "" if found is None else f"version {found.to_version} (sequence {found.sequence})."
        if found is not None and (gone := _deletion(found.sequence, resources.ledger.deletions(model))):
            held += f" The model was {gone}"
        show(arguments, found, [f"{model} at {when}: {held}" if found else f"{model} had no champion at {when}."])
        return 1 if found is None else 0
    promotions = resources.ledger.promotions(model, with_deleted=True)
    deletions = resources.ledger.deletions(model)
    if not promotions and not deletions and model not in models.specs:
        models[model]  # raises the error that lists the declared models
    rows = [HistoryRow(**each.model_dump(), deleted=_deletion(each.sequence, deletions)) for each in promotions]
    show(arguments, rows, _history(rows, deletions))
    return 0


class HistoryRow(Promotion):
    """A promotion, and the deletion of the model that made it history, if there was one."""

    deleted: ModelDeletion | None


def _deletion(sequence: int, deletions: Iterable[ModelDeletion]) -> ModelDeletion | None:
    return next((each for each in deletions if each.last_sequence >= sequence), None)


def _history(promotions: Iterable[HistoryRow], deletions: Iterable[ModelDeletion]) -> Iterator[str]:
    yield f"{'sequence':>8}  {'version':>7}  {'from':>4}  {'at (UTC)':19}  by: why"
    pending = list(deletions)
    for each in promotions:
        while pending and each.sequence > pending[0].last_sequence:
            yield _deletion_line(pending.pop(0))
        former = "-" if each.from_version is None else str(each.from_version)
        when = f"{each.promoted_at:%Y-%m-%d %H:%M:%S}"
        yield f"{each.sequence:>8}  {each.to_version:>7}  {former:>4}  {when}  {each.actor}: {each.reason}"
    for deletion in pending:
        yield _deletion_line(deletion)


def _deletion_line(deletion: ModelDeletion) -> str:
    when = f"{deletion.deleted_at:%Y-%m-%d %H:%M:%S}"
    return f"{'deleted':>8}  {'':7}  {'':4}  {when}  {deletion.actor}: {deletion.reason}"


def psql(arguments: Namespace, _models: DeclaredModels, resources: Resources) -> int:
    """Run the embedded psql on the database. The password is in its environment, so it is not in the process list."""
    address = make_url(resources.database_url)
    where = {"-h": address.host, "-p": address.port, "-U": address.username, "-d": address.database}
    command = [binary("psql"), "-P", "pager=off", "-v", "ON_ERROR_STOP=1"]
    for flag, value in where.items():
        command += [] if value is None else [flag, str(value)]
    command += arguments.of_psql
    environment = child_environment({"PGPASSWORD": str(address.password or "")})
    # Ctrl-C interrupts the statement in psql, not this process. (An ignored signal would be inherited.)
    former = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        status = subprocess.run(command, env=environment, check=False).returncode  # noqa: S603  # arguments, no shell
    finally:
        signal.signal(signal.SIGINT, former)
    return exit_status.DATABASE_FAILED if status == _PSQL_LOST_CONNECTION else status


def _show_gates(version: ModelVersion) -> None:
    for gate in version.decision.gates:
        _say(f"  {gate.gate}: {gate.sentence}")


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
