"""Which ports are free: for the embedded server, the local stack, the service, and a service under rehearsal."""

from __future__ import annotations

import socket


def try_bind(port: int, host: str = "127.0.0.1") -> None:
    """Bind `port` of `host`, and release it at once.

    A closed connection that the kernel still remembers does not make the port count as in use.

    Raises
    ------
    OSError
        When the port cannot be bound, such as when another process listens on it.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, port))


def is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Return whether `port` of `host` can be bound."""
    try:
        try_bind(port, host)
    except OSError:
        return False
    return True


def any_free_port(host: str = "127.0.0.1") -> int:
    """Return a free port, chosen by the system."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])
