"""The command line: words in, one command called, an exit code out.

Exit codes: 0 done; 1 an error that says what to do; 2 the words are off; 3 a candidate was rejected.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

from include.cli import approve as approval
from include.cli import audit, commands, partitions, scorecard
from include.cli.keys import keys
from include.cli.token import mint
from include.errors import SluiceError
from include.models import declared_models
from include.schedule import parse_moment
from include.settings import load_settings


def main(words: Sequence[str] | None = None) -> int:
    """Run one command of `words` (``sys.argv`` by default) and return the exit code."""
    arguments = build_parser().parse_args(words)
    command: Callable[..., int] = arguments.command
    try:
        settings = load_settings()
        if command in (commands.new, commands.migrate, mint, keys):  # these open what they need themselves
            return command(arguments, settings)
        from include.resources import open_resources  # opened by commands that need it, not by --help

        with open_resources(settings) as resources:
            return command(arguments, declared_models(settings.models_dir), resources)
    except SluiceError as error:
        sys.stderr.write(f"sluice: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("sluice: interrupted; nothing half-done was published\n")
        return 130


def build_parser() -> argparse.ArgumentParser:
    """Return the parser; the documentation's test reads its commands."""
    parser = argparse.ArgumentParser(prog="sluice", description=__doc__.splitlines()[0])
    parsers = parser.add_subparsers(required=True, metavar="COMMAND")

    migrate = parsers.add_parser("migrate", help="bring the database's schema to the newest revision")
    migrate.set_defaults(command=commands.migrate)

    new = parsers.add_parser("new", help="write the skeleton of a model and a small table that it works on")
    new.add_argument("model", help="name of the new model: small letters, digits and _")
    new.set_defaults(command=commands.new)

    samples = parsers.add_parser("load-samples", help="load the tables of the two sample models, iris and flight_delay")
    samples.set_defaults(command=commands.samples)

    train = parsers.add_parser(
        "train", help="validate, train, evaluate, gate and promote, as the DAG retrain_MODEL does"
    )
    train.add_argument("model")
    train.add_argument("--as-of", type=_moment, help="train as if it were this time, such as 2026-01-31T12:00")
    train.add_argument("--no-promote", action="store_true", help="register the candidate, promote nothing")
    train.set_defaults(command=commands.train)

    score = parsers.add_parser("score", help="score partitions and publish them, as the DAG score_MODEL does")
    score.add_argument("model")
    score.add_argument("--partition", help="a day, 2026-01-31, or a moment, 2026-01-31T15:00; default: the last one")
    score.add_argument("--to", help="the day or moment that ends a range, which --partition begins")
    score.add_argument("--version", type=int, help="score with this version instead of the champion")
    score.set_defaults(command=partitions.score)

    backfill = parsers.add_parser("backfill", help="score past partitions, each with the champion of its time")
    backfill.add_argument("model")
    backfill.add_argument("--from", dest="first", required=True, help="the first day or moment")
    backfill.add_argument("--to", dest="last", required=True, help="the last day or moment")
    backfill.add_argument("--version", type=int, help="score all of them with this version instead")
    backfill.set_defaults(command=partitions.backfill)

    retire = parsers.add_parser("drop-partition", help="remove a published partition that nobody needs any more")
    retire.add_argument("model")
    retire.add_argument("--partition", required=True, help="a day, 2026-01-31, or a moment, 2026-01-31T15:00")
    retire.add_argument("--reason", required=True, help="kept in the ledger for good")
    retire.set_defaults(command=partitions.retire)

    promote = parsers.add_parser("promote", help="make a registered version the champion")
    promote.add_argument("model")
    promote.add_argument("version", type=int)
    promote.add_argument("--reason", required=True, help="kept in the ledger for good")
    promote.set_defaults(command=commands.promote)

    approve = parsers.add_parser("approve", help="approve a version, so that another person may promote it")
    approve.add_argument("model")
    approve.add_argument("version", type=int)
    approve.add_argument("--comment", required=True, help="why, kept in the ledger for good")
    approve.set_defaults(command=approval.approve)

    shadow = parsers.add_parser("shadow", help="have a version score beside the champion, for nobody to see")
    shadow.add_argument("model")
    shadow.add_argument("version", type=_version_or_off, nargs="?", help="its number, or off; default: say how far")
    shadow.add_argument("--now", action="store_true", help="measure what the service sampled since the last look")
    shadow.set_defaults(command=approval.shadow)

    rollback = parsers.add_parser("rollback", help="promote the version that was champion before")
    rollback.add_argument("model")
    rollback.add_argument("version", type=int, nargs="?", help="default: the champion before this one")
    rollback.add_argument("--reason", required=True, help="kept in the ledger for good")
    rollback.set_defaults(command=commands.rollback)

    history = parsers.add_parser("history", help="list the promotions of a model, or who was champion at a time")
    history.add_argument("model")
    history.add_argument("--at", type=_moment, help="the time, such as 2026-01-31T12:00 (UTC unless it says otherwise)")
    history.set_defaults(command=commands.history)

    verify = parsers.add_parser("verify", help="check everything that a version promises, for auditors")
    verify.add_argument("model")
    verify.add_argument("version", type=int)
    verify.set_defaults(command=audit.verify)

    explain = parsers.add_parser("explain-promotion", help="tell the whole story of a promotion")
    explain.add_argument("model")
    explain.add_argument("sequence", type=int, help="the number that `sluice history` shows")
    explain.set_defaults(command=audit.explain)

    score_card = parsers.add_parser("ml-test-score", help="the ML Test Score of a model's champion, test by test")
    score_card.add_argument("model")
    score_card.set_defaults(command=scorecard.show)

    attest = parsers.add_parser("attest", help="sign a statement that a test of the ML Test Score was done by hand")
    attest.add_argument("model")
    attest.add_argument("test", help="such as model-3; `sluice ml-test-score` lists them")
    attest.add_argument("--statement", required=True, help="what was done, when, and where it is written down")
    attest.set_defaults(command=scorecard.attest)

    token = parsers.add_parser("token", help="mint a token for trying the service out")
    token.add_argument("subject", help="whom the token names: limits count and logs show it")
    token.add_argument("--scope", default="predict scores models", help="what it is good for, separated by spaces")
    token.add_argument("--model", action="append", help="a model that it is good for; again for another; default: all")
    token.add_argument("--minutes", type=int, default=60, help="how long it is good; default: 60")
    token.set_defaults(command=mint)

    pair = parsers.add_parser("keys", help="list the keys that sign and are trusted, make a pair, or rotate")
    pair.add_argument("action", nargs="?", choices=("list", "generate", "rotate"), default="list", help="default: list")
    pair.add_argument("folder", nargs="?", type=Path, help="where `generate` writes signing.pem and the public key")
    pair.set_defaults(command=keys)

    psql = parsers.add_parser("psql", help="open psql on the database, or run one statement")
    psql.add_argument("-c", dest="statement", help="the statement to run; without it, psql asks for some")
    psql.set_defaults(command=commands.psql)

    status = parsers.add_parser("status", help="list the models with their champions and newest partitions")
    status.set_defaults(command=commands.status)
    return parser


def _moment(text: str) -> datetime:
    try:
        return parse_moment(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a time such as 2026-01-31T12:00; found '{text}'") from None


def _version_or_off(word: str) -> str:
    if word != "off" and not word.isdigit():
        raise argparse.ArgumentTypeError(f"expected a version's number, or off; found '{word}'")
    return word
