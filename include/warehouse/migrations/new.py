"""``make migration NAME=add_x`` writes the next numbered migration from the template."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from alembic import command
from alembic.script import ScriptDirectory

from include.warehouse.engine import MIGRATIONS, alembic_config

_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")


def write_migration(name: str, folder: Path = MIGRATIONS) -> Path:
    """Write the file of the next migration, and return its path.

    Parameters
    ----------
    name : str
        The change, such as ``add_label_source``; the number is put before it.
    folder : Path
        The migrations, with ``alembic.ini`` and the template.

    Raises
    ------
    ValueError
        When the name does not consist of lower-case letters, digits and single underscores.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(f"expected a name such as add_label_source; found '{name}'. Run: make migration NAME=add_x")
    config = alembic_config(folder)
    newest = ScriptDirectory.from_config(config).get_current_head()
    number = f"{int(newest or 0) + 1:04d}"
    command.revision(config, message=name.replace("_", " ").capitalize(), rev_id=number)
    return folder / "versions" / f"{number}_{name}.py"


def main() -> int:
    """Write the migration that the command line names."""
    parser = argparse.ArgumentParser(prog="make migration", description=__doc__)
    parser.add_argument("name", help="what it changes, such as add_label_source")
    try:
        write_migration(parser.parse_args().name)
    except ValueError as error:
        parser.error(str(error))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
