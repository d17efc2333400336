"""What a server hands to a WSGI application."""

from __future__ import annotations

import sys
from typing import Any


def base_environ(method: str, path: str, length: int, authorization: str) -> dict[str, Any]:
    """Return the environment of a request with a body of `length` bytes, without the body and the query."""
    return {
        "REQUEST_METHOD": method,
        "PATH_INFO": path,
        "SCRIPT_NAME": "",
        "QUERY_STRING": "",
        "CONTENT_LENGTH": str(length),
        "HTTP_AUTHORIZATION": authorization,
        "HTTP_HOST": "127.0.0.1",
        "REMOTE_ADDR": "127.0.0.1",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.errors": sys.stderr,
        "wsgi.input_terminated": True,
        "wsgi.url_scheme": "http",
        "wsgi.version": (1, 0),
    }
