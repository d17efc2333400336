"""The command line: parses the arguments, runs one command and returns its exit status."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from include.cli import exit_status, onboard_options
from include.cli.lazy import LazyCommand, LazyModule
from include.cli.output import add_json
from include.errors import UNUSABLE_FILE, DatabaseError, ReasonError, SluiceError
from include.reasons import check_reason

if TYPE_CHECKING:
    from include.settings import Settings

# Imported when a command runs: `sluice --help` and tab completion need none of it.
approval, audit, commands = (LazyModule(f"include.cli.{name}") for name in ("approve", "audit", "commands"))
partitions, scorecard, versions = (
    LazyModule(f"include.cli.{name}") for name in ("partitions", "scorecard", "versions")
)
changes, deletion = LazyModule("include.cli.changes"), LazyModule("include.cli.delete")
holds = LazyModule("include.cli.hold")
rights, alerts = LazyModule("include.cli.grant"), LazyModule("include.cli.alerts")
watch = LazyCommand("include.cli.watch", "watch")
keys, mint = LazyCommand("include.cli.keys", "keys"), LazyCommand("include.cli.token", "mint")
check = LazyCommand("include.cli.check", "check")
status_of = LazyCommand("include.cli.status", "status")
serve, url = LazyCommand("include.cli.serve", "serve"), LazyCommand("include.cli.url", "url")

Parsers: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # noqa: SLF001  # it has no public name

MODEL: Final = "name of the model"
VERSION: Final = "version number"
REASON: Final = "reason, of at least 10 characters; the ledger keeps it permanently"
DATE: Final = "a day, such as 2026-01-31, or a time, such as 2026-01-31T15:00"


def run_command(arguments: Sequence[str] | None = None) -> int:
    """Run one command, by default that of ``sys.argv``, and return the exit status."""
    parser = build_parser()
    if "_ARGCOMPLETE" in os.environ:  # the shell's variable, no setting
        from include.cli.completion import complete

        complete(parser)
    parsed, others = parser.parse_known_args(arguments)
    if parsed.command is None:
        parser.print_help()
        return 0
    if "of_psql" in parsed:
        parsed.of_psql = others
    elif others:
        parser.error(f"unrecognized arguments: {' '.join(others)}")
    return _run(parsed.command, parsed)


def _run(command: LazyCommand, parsed: argparse.Namespace) -> int:
    from include.cli.database_errors import DRIVER_ERRORS, translated
    from include.settings import load_settings

    url = None
    try:
        settings = load_settings()
        url = settings.database_url
        return _call(command, parsed, settings)
    except SluiceError as error:
        return _failed(error)
    except DRIVER_ERRORS as error:
        sentence = translated(error, url)
        if sentence is None:
            raise
        return _failed(sentence)
    except OSError as error:
        if error.errno not in UNUSABLE_FILE or error.filename is None:
            raise
        found = f"{error.filename}: {error.strerror}"
        return _failed(
            SluiceError(
                f"expected a file or folder that can be read and written; found: {found}. Correct its rights, free "
                "some space, or set SLUICE_HOME, SLUICE_ARTIFACTS_URL or SLUICE_MODELS_DIR to another folder."
            )
        )


def _call(command: LazyCommand, parsed: argparse.Namespace, settings: Settings) -> int:
    if command in (check, commands.new, commands.migrate, mint, keys, serve):  # these open their resources themselves
        return command(parsed, settings)
    from include.models import declared_models
    from include.resources import open_resources

    with open_resources(settings) as resources:
        return command(parsed, declared_models(settings.models_dir), resources)


def _failed(error: SluiceError) -> int:
    sys.stderr.write(f"sluice: {error}\n")
    return exit_status.DATABASE_FAILED if isinstance(error, DatabaseError) and error.retryable else exit_status.FAILED


class _Version(argparse.Action):
    """Prints the version of Sluice, which is looked up only then."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any, **__: Any) -> None:
        from include.cli.release import release

        sys.stdout.write(f"sluice {release()}\n")
        parser.exit()


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands; the tests of the documentation use it, too."""
    parser = argparse.ArgumentParser(
        prog="sluice",
        description="Train, score, promote and inspect Sluice models.",
        epilog="Exit codes: 0: done; 1: an error, with advice; 2: invalid arguments; 3: a candidate was rejected, or "
        "not promoted; "
        "4: the database cannot be reached or failed; 5: `sluice plan` found a change that breaks something.",
    )
    hidden = argparse.SUPPRESS  # commands have arguments of the name `version`
    parser.add_argument(
        "--version", action=_Version, nargs=0, dest=hidden, default=hidden, help="show the version of Sluice and exit"
    )
    parser.set_defaults(command=None)
    parsers = parser.add_subparsers(metavar="COMMAND")
    _add_setup(parsers)
    _add_training(parsers)
    _add_changes(parsers)
    _add_scoring(parsers)
    _add_promotion(parsers)
    _add_audit(parsers)
    _add_alerts(parsers)
    _add_watch(parsers)
    _add_access(parsers)
    return parser


def _add_setup(parsers: Parsers) -> None:
    migrate = _add(parsers, "migrate", "upgrade the database schema to the latest revision")
    migrate.set_defaults(command=commands.migrate)

    new = _add(parsers, "new", "create a model from a template, with a small table to train it on")
    new.add_argument("model", help="name of the new model: lower-case letters, digits and _")
    onboard_options.add_arguments(new)
    new.set_defaults(command=commands.new)

    checked = _add(parsers, "check", "report all faults of a declaration and of its data, each with file and line")
    checked.add_argument("model", nargs="?", help=f"{MODEL}; default: all models")
    checked.add_argument("--no-database", action="store_true", help="check only what is written in the two files")
    add_json(checked)
    checked.add_argument(
        "--as-of", type=_moment, metavar="TIME", help="check the training window of this time; default: now"
    )
    checked.set_defaults(command=check)

    samples = _add(parsers, "load-samples", "load the tables of the sample models iris and flight_delay")
    samples.set_defaults(command=commands.samples)

    psql = _add(parsers, "psql", "open psql on the database, or run one statement")
    psql.usage = "sluice psql [ARGUMENTS]"
    psql.epilog = "All arguments are psql's own, such as -c STATEMENT, -x, --csv or -f FILE."
    psql.set_defaults(command=commands.psql, of_psql=())

    address = _add(parsers, "url", "print the connection string of the database, for pandas, DBeaver and others")
    address.add_argument(
        "--format",
        choices=("libpq", "sqlalchemy", "jdbc"),
        default="libpq",
        help="for psql and most programs, for pandas, for DBeaver; default: %(default)s",
    )
    address.add_argument("--password", action="store_true", help="print the password, too")
    address.set_defaults(command=url)


def _add_training(parsers: Parsers) -> None:
    train = _add(parsers, "train", "train, evaluate and promote a candidate, as the DAG retrain_MODEL does")
    train.add_argument("model", help=MODEL)
    train.add_argument(
        "--as-of", type=_moment, metavar="TIME", help="train as of this time, such as 2026-01-31T12:00; default: now"
    )
    train.add_argument("--no-promote", action="store_true", help="register the candidate without promoting it")
    train.add_argument("--again", action="store_true", help="train even if nothing is new since a registered version")
    train.add_argument(
        "--allow-older",
        type=_reason,
        metavar="REASON",
        help="promote the candidate even if its data end before those of the champion; the ledger keeps the reason",
    )
    train.set_defaults(command=commands.train)


def _add_changes(parsers: Parsers) -> None:
    plan = _add(parsers, "plan", "show what an edit of spec.py or features.sql means before it is live")
    plan.add_argument("model", help=MODEL)
    add_json(plan)
    plan.set_defaults(command=changes.plan)

    delete = _add(parsers, "delete", "delete a model whose declaration is gone: its tables, artifacts and files")
    delete.add_argument("model", help=MODEL)
    delete.add_argument("--reason", type=_reason, required=True, help=REASON)
    delete.add_argument("--yes", action="store_true", help="do not ask for the name of the model, for scripts")
    delete.set_defaults(command=deletion.delete)


def _add_scoring(parsers: Parsers) -> None:
    score = _add(parsers, "score", "score and publish partitions, as the DAG score_MODEL does")
    score.add_argument("model", help=MODEL)
    score.add_argument("--partition", metavar="DATE", help=f"{DATE}; default: the latest complete partition")
    score.add_argument("--to", metavar="DATE", help="end of a range that --partition begins")
    score.add_argument("--version", type=int, metavar="N", help="version to score with; default: the champion")
    score.set_defaults(command=partitions.score)

    backfill = _add(parsers, "backfill", "score past partitions, each with the champion of its time")
    backfill.add_argument("model", help=MODEL)
    backfill.add_argument("--from", dest="first", metavar="DATE", required=True, help=f"first partition: {DATE}")
    backfill.add_argument("--to", dest="last", metavar="DATE", required=True, help="last partition")
    backfill.add_argument(
        "--version", type=int, metavar="N", help="version to score all of them with; default: the champion of each time"
    )
    backfill.set_defaults(command=partitions.backfill)

    drop = _add(parsers, "drop-partition", "remove the scores of a published partition")
    drop.add_argument("model", help=MODEL)
    drop.add_argument("--partition", metavar="DATE", required=True, help=DATE)
    drop.add_argument("--reason", type=_reason, required=True, help=REASON)
    drop.set_defaults(command=partitions.drop)


def _add_promotion(parsers: Parsers) -> None:
    promote = _add(parsers, "promote", "promote a registered version to champion")
    promote.add_argument("model", help=MODEL)
    promote.add_argument("version", type=int, help=VERSION)
    promote.add_argument("--reason", type=_reason, required=True, help=REASON)
    promote.add_argument("--force", action="store_true", help="promote it although gates rejected it")
    promote.set_defaults(command=commands.promote)

    approve = _add(parsers, "approve", "approve a version, so that another person may promote it")
    approve.add_argument("model", help=MODEL)
    approve.add_argument("version", type=int, help=VERSION)
    approve.add_argument("--comment", type=_reason, required=True, help=REASON)
    approve.set_defaults(command=approval.approve)

    _add_shadow(parsers)

    rollback = _add(parsers, "rollback", "go back to the champion before, or to an earlier one, and hold promotions")
    rollback.add_argument("model", help=MODEL)
    rollback.add_argument("version", type=int, nargs="?", help=f"{VERSION}; default: the champion before")
    rollback.add_argument("--reason", type=_reason, required=True, help=REASON)
    rollback.set_defaults(command=commands.rollback)

    hold = _add(parsers, "hold", "let no retrain promote a version of a model, or lift such a hold")
    hold.add_argument("model", help=MODEL)
    hold.add_argument("--reason", type=_reason, required=True, help=REASON)
    ends = hold.add_mutually_exclusive_group()
    ends.add_argument(
        "--until",
        type=_moment,
        metavar="TIME",
        help="end, such as 2026-01-31T12:00 (UTC); default: when it is lifted",
    )
    ends.add_argument("--lift", action="store_true", help="lift the hold")
    hold.set_defaults(command=holds.hold)

    history = _add(parsers, "history", "list the promotions of a model, or show its champion at a time")
    history.add_argument("model", help=MODEL)
    history.add_argument(
        "--at", type=_moment, metavar="TIME", help="show the champion at this time, such as 2026-01-31T12:00 (UTC)"
    )
    add_json(history)
    history.set_defaults(command=commands.history)

    listed = _add(parsers, "versions", "list the versions of a model: gates, first reason, champion or not, card")
    listed.add_argument("model", help=MODEL)
    add_json(listed)
    listed.set_defaults(command=versions.versions)

    card = _add(parsers, "card", "print where the model card of a version is, or open it")
    card.add_argument("model", help=MODEL)
    card.add_argument("version", type=int, nargs="?", help=f"{VERSION}; default: the champion")
    card.add_argument("--open", action="store_true", help="open it in a browser")
    card.set_defaults(command=versions.card)

    status = _add(parsers, "status", "show what is wrong now, worst first, and the models with their champions")
    status.add_argument("model", nargs="?", help=f"{MODEL}; default: all models")
    add_json(status)
    status.set_defaults(command=status_of)


def _add_shadow(parsers: Parsers) -> None:
    shadow = _add(
        parsers, "shadow", "run a version in shadow: score it beside the champion without exposing its output"
    )
    actions = shadow.add_subparsers(dest="action", required=True, metavar="ACTION")

    chosen = _add(actions, "set", "run a version in shadow")
    chosen.add_argument("model", help=MODEL)
    chosen.add_argument("version", type=int, help=VERSION)
    chosen.set_defaults(command=approval.assign_shadow)

    for name, summary, command in (
        ("unset", "run no version in shadow", approval.unset_shadow),
        ("status", "show which version runs in shadow, and its latest measured divergence", approval.shadow_status),
        ("measure", "compare the online predictions sampled since the last measurement", approval.measure_shadow),
    ):
        action = _add(actions, name, summary)
        action.add_argument("model", help=MODEL)
        action.set_defaults(command=command)


def _add_audit(parsers: Parsers) -> None:
    verify = _add(parsers, "verify", "verify a version: ledger, digests, signatures, golden rows and evidence")
    verify.add_argument("model", help=MODEL)
    verify.add_argument("version", type=int, help=VERSION)
    add_json(verify)
    verify.set_defaults(command=audit.verify)

    explain = _add(parsers, "explain-promotion", "show everything that a promotion was decided on")
    explain.add_argument("model", help=MODEL)
    explain.add_argument("sequence", type=int, help="sequence number, as shown by `sluice history`")
    add_json(explain)
    explain.set_defaults(command=audit.explain)

    score_card = _add(parsers, "ml-test-score", "show the ML Test Score of a model's champion, test by test")
    score_card.add_argument("model", help=MODEL)
    add_json(score_card)
    score_card.set_defaults(command=scorecard.show_score)

    attest = _add(parsers, "attest", "sign a statement that a test of the ML Test Score was done manually")
    attest.add_argument("model", help=MODEL)
    attest.add_argument("test", help="ID of the test, such as model-3; `sluice ml-test-score` lists them")
    attest.add_argument(
        "--statement", type=_reason, required=True, help="what was done, when, and where it is documented"
    )
    attest.set_defaults(command=scorecard.attest)


def _add_alerts(parsers: Parsers) -> None:
    listing = _add(parsers, "alerts", "list the open incidents; show, acknowledge, silence and close them")
    listing.add_argument("--all", action="store_true", help="list those that have ended, too, the newest first")
    listing.add_argument("--model", help="only incidents of this model")
    listing.add_argument("--limit", type=int, default=100, metavar="N", help="list at most N; default: %(default)s")
    add_json(listing)
    listing.set_defaults(command=alerts.list_alerts)
    actions = listing.add_subparsers(metavar="ACTION", dest="action")

    details = _add(actions, "show", "show an incident, its history and its messages")
    details.add_argument("incident", type=int, help="id of the incident, as `sluice alerts` lists it")
    add_json(details)
    details.set_defaults(command=alerts.show_alert)
    for name, summary, command in (
        ("acknowledge", "take over an incident: nobody is told of it again until it ends", alerts.acknowledge),
        ("close", "end an incident that does not end by itself", alerts.close),
    ):
        change = _add(actions, name, summary)
        change.add_argument("incident", type=int, help="id of the incident, as `sluice alerts` lists it")
        change.add_argument("--reason", type=_reason, required=True, help=REASON)
        change.set_defaults(command=command)

    silence = _add(actions, "silence", "tell nobody of incidents for some time")
    silence.add_argument("--model", help="only those of this model; default: of all")
    silence.add_argument("--kind", help="only those of this kind, such as late_partition; default: of all")
    silence.add_argument(
        "--for", dest="duration", type=_duration, required=True, metavar="TIME", help="how long, such as 30m, 4h or 2d"
    )
    silence.add_argument("--reason", type=_reason, required=True, help=REASON)
    silence.set_defaults(command=alerts.silence)

    lift = _add(actions, "lift", "end a silence before its time")
    lift.add_argument("silence", type=int, help="id of the silence, as `sluice alerts` lists it")
    lift.set_defaults(command=alerts.lift)

    test = _add(actions, "test", "send a test message to the channels, and tell whether they accepted it")
    test.add_argument("channel", nargs="?", help="name of the channel; default: all")
    test.set_defaults(command=alerts.send_test)


def _add_watch(parsers: Parsers) -> None:
    watcher = _add(parsers, "watch", "look for what is late, missing or dead, and alert, until Ctrl-C")
    watcher.add_argument("--once", action="store_true", help="look once, print what is wrong, and end")
    add_json(watcher)
    watcher.set_defaults(command=watch)


def _add_access(parsers: Parsers) -> None:
    service = _add(parsers, "serve", "run the online service in the foreground, until Ctrl-C")
    service.add_argument("--host", help="address to listen on; default: that of the settings, 127.0.0.1")
    service.add_argument("--port", type=int, metavar="N", help="port to listen on; default: that of the settings, 8090")
    service.add_argument("--workers", type=int, metavar="N", help="worker processes; default: that of the settings, 2")
    service.add_argument("--model", help="model of POST /predict; default: that of the settings, or the only one")
    service.set_defaults(command=serve)
    for name, summary, command in (
        ("grant", "let retraining and promotion read the tables of another schema than `source`", rights.grant),
        ("revoke", "take back the rights that `sluice grant` has granted", rights.revoke),
    ):
        right = _add(parsers, name, summary)
        right.add_argument("schema", help="name of the schema, as PostgreSQL stores it")
        right.set_defaults(command=command)

    token = _add(parsers, "token", "issue a token to try the service")
    token.add_argument("subject", help="subject of the token; rate limits and logs use it")
    token.add_argument(
        "--scope", default="predict scores models", help="scopes, separated by spaces; default: %(default)s"
    )
    token.add_argument(
        "--model", action="append", help="model that the token gives access to; repeatable; default: all models"
    )
    token.add_argument("--minutes", type=int, default=60, metavar="N", help="lifetime; default: %(default)s")
    token.set_defaults(command=mint)

    pair = _add(parsers, "keys", "list the trusted keys, generate a key pair, or rotate the embedded one")
    pair.add_argument("action", nargs="?", choices=("list", "generate", "rotate"), default="list", help="default: list")
    pair.add_argument("folder", nargs="?", type=Path, help="folder for the key pair that `generate` writes")
    pair.set_defaults(command=keys)


def _add(parsers: Parsers, name: str, summary: str) -> argparse.ArgumentParser:
    return parsers.add_parser(name, help=summary, description=f"{summary[:1].upper()}{summary[1:]}.")


def _reason(text: str) -> str:
    try:
        return check_reason(text, "a reason")
    except ReasonError as error:
        raise argparse.ArgumentTypeError(str(error).removeprefix("a reason: ")) from None


def _duration(text: str) -> timedelta:
    from include.cli.alerts import parse_duration

    return parse_duration(text)


def _moment(text: str) -> datetime:
    from include.schedule import parse_moment

    try:
        return parse_moment(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a time such as 2026-01-31T12:00; found '{text}'") from None
