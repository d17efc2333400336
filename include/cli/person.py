"""The user of the shell."""

from __future__ import annotations

import os
import pwd


def who() -> str:
    """Return the name of the operating system's user.

    Not by `getpass.getuser`, which reads the environment: a person who may not approve a version could set LOGNAME.
    """
    number = os.getuid()
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:  # in a container the user id may have no name
        return f"uid {number}"
