"""The environment variables of libraries and of child processes."""

from __future__ import annotations

import os
from collections.abc import Mapping


def set_for_libraries(name: str, value: str) -> None:
    """Set a variable that a library reads, in this process and in the processes that it forks."""
    os.environ[name] = value


def unset_for_libraries(*names: str) -> None:
    """Remove variables that a library reads from the environment of this process, if they are set."""
    for name in names:
        os.environ.pop(name, None)


def child_environment(changes: Mapping[str, str], *, without: tuple[str, ...] = ()) -> dict[str, str]:
    """Return this process's environment for a child, with `changes`, and no variable named ``<without>...``.

    Parameters
    ----------
    changes : mapping of str to str
        Variables to set.
    without : tuple of str
        Prefixes of variables that the child must not inherit.
    """
    kept = (
        {name: value for name, value in os.environ.items() if not name.startswith(without)} if without else os.environ
    )
    return {**kept, **changes}
