"""What commands print for people, or with ``--json`` for other programs: one way for all of them."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable
from typing import Any


def add_json(parser: argparse.ArgumentParser) -> None:
    """Add the option ``--json``."""
    parser.add_argument("--json", action="store_true", help="print JSON, for other programs")


def show(arguments: argparse.Namespace, value: Any, lines: Iterable[str]) -> None:
    """Print `lines`; or with ``--json``, `value` as one JSON document, with null for numbers that JSON does not have.

    Parameters
    ----------
    arguments : Namespace
        Of a command with the option.
    value : records, or built-in types of them
    lines : iterable of str
        It is not read with ``--json``.
    """
    if arguments.json:
        from pydantic_core import to_jsonable_python  # not for --help

        # Twice: a record writes its numbers as it stores them, NaN among them.
        plain = to_jsonable_python(to_jsonable_python(value), inf_nan_mode="null")
        sys.stdout.write(json.dumps(plain, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
        return
    for line in lines:
        sys.stdout.write(line + "\n")
