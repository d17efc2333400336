"""The JSON encoder of every response, and responses made with it."""

from __future__ import annotations

from typing import Any

import msgspec
from flask import Response

encode = msgspec.json.Encoder().encode


def json_response(document: Any, status: int = 200) -> Response:
    """Return a response with `document` as JSON."""
    return Response(encode(document), status=status, mimetype="application/json")
