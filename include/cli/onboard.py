"""`sluice new MODEL --from-table TABLE` and `--from-csv FILE`: a model of the data that there are."""

from __future__ import annotations

import shlex
import sys
from argparse import Namespace

from include.errors import SluiceError
from include.settings import Settings

_MEANINGS = ("task", "target", "key", "time", "time_from_order")


def is_onboarding(arguments: Namespace) -> bool:
    """Return whether a model of existing data is wanted, and not a template.

    Raises
    ------
    SluiceError
        When an option says what the data mean, and none says where they are.
    """
    if arguments.from_table is not None or arguments.from_csv is not None:
        return True
    for option in _MEANINGS:
        if getattr(arguments, option) is not None:
            raise SluiceError(
                f"--{option.replace('_', '-')}: expected --from-table TABLE or --from-csv FILE beside it; found "
                "neither. Nothing was written. Say where the rows are."
            )
    return False


def onboard(arguments: Namespace, settings: Settings) -> int:
    """Write a model for a table or a CSV file, and print what was found and decided, and the next commands."""
    from include.onboarding import (
        ProposalOptions,
        columns_of,
        declare_from_csv,
        declare_from_table,
        parse_time_from_order,
    )
    from include.resources import open_resources

    order = arguments.time_from_order
    options = ProposalOptions(
        task=arguments.task,
        target=arguments.target,
        key=columns_of(arguments.key),
        time=arguments.time,
        time_from_order=None if order is None else parse_time_from_order(order),
    )
    with open_resources(settings) as resources:
        where = (resources.engine, settings.models_dir, arguments.model)
        command, now = _command(arguments), resources.clock()
        if arguments.from_csv is not None:
            done = declare_from_csv(*where, arguments.from_csv, options, command=command, now=now)
        else:
            done = declare_from_table(*where, arguments.from_table, options, command=command, now=now)
    wrote = f"Wrote {done.folder / 'spec.py'} and {done.folder / 'features.sql'}. Read both, then:"
    sys.stdout.write("\n".join([*done.findings, wrote, *(f"  {command}" for command in done.next_commands)]) + "\n")
    return 0


def _command(arguments: Namespace) -> str:
    """Return the command as it was called, without the folder of the file."""
    words = ["sluice", "new", arguments.model]
    if arguments.from_csv is not None:
        words += ["--from-csv", arguments.from_csv.name]
    else:
        words += ["--from-table", arguments.from_table]
    for option in _MEANINGS:
        value = getattr(arguments, option)
        words += [] if value is None else [f"--{option.replace('_', '-')}", value]
    written = shlex.join(words)
    return "".join(character if character.isprintable() else "?" for character in written)
