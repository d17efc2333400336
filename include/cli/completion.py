"""Tab completion, by argcomplete: commands and options from the parser, and the names of the declared models."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from include.errors import SluiceError
from include.settings import Settings, load_settings


def complete(parser: argparse.ArgumentParser) -> None:
    """Answer the shell with what may follow, and end the process.

    A shell asks by running the command with ``_ARGCOMPLETE`` in its environment.
    """
    import argcomplete
    from argcomplete.completers import FilesCompleter, SuppressCompleter

    for each in _parsers(parser):
        for action in each._actions:  # noqa: SLF001  # argparse has no public way to a parser's arguments
            if action.type is Path:
                action.completer = FilesCompleter()  # type: ignore[attr-defined]  # argcomplete's own attribute
            elif action.dest == "model" and each.prog != "sluice new":
                action.completer = _complete_model  # type: ignore[attr-defined]  # as above
    # By default, it would offer files wherever nothing else is known.
    argcomplete.autocomplete(parser, always_complete_options=False, default_completer=SuppressCompleter())


def declared_names(settings: Settings) -> list[str]:
    """Return the names of the folders with a declaration. The declarations are not read."""
    return sorted(file.parent.name for file in settings.models_dir.glob("*/spec.py"))


def _complete_model(**_: Any) -> list[str]:
    try:
        return declared_names(load_settings())
    except SluiceError:  # the command itself will say what is wrong
        return []


def _parsers(parser: argparse.ArgumentParser) -> list[argparse.ArgumentParser]:
    """Return a parser and those of its commands, theirs included."""
    found = [parser]
    for action in parser._actions:  # noqa: SLF001  # as above
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            for each in action.choices.values():
                found += _parsers(each)
    return found
