"""Who sits at the shell."""

from __future__ import annotations

import os
import pwd


def who() -> str:
    """Return the name of the operating system's user, as the system knows it.

    Not `getpass.getuser`, which believes the environment: whoever may not approve a version could set LOGNAME.
    """
    number = os.getuid()
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:  # a container may run as a number that nobody has named
        return f"uid {number}"
