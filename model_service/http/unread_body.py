"""Reads and discards the body of a request that was refused before it was read.

If a server answers and closes a connection while the client still sends, the client's next packet is answered by a
reset. Many clients then report that instead of the response, which told them to wait, or to send a token. Therefore
the body is read after the response was sent, and the connection stays open. That is bounded in bytes, in time (by the
request timeout) and in the number of bodies, so that slow clients can never occupy the threads that refuse requests.

Source: https://www.rfc-editor.org/rfc/rfc9112#section-9.6
"""

from __future__ import annotations

from typing import Any, Final

from model_service.http.errors import OverloadedError
from model_service.http.limits import ConcurrencyLimiter
from model_service.http.request_context import RequestContext

MAX_UNREAD_BODIES: Final = 32
MAX_DISCARDED_BYTES: Final = 16 * 1024 * 1024
_PIECE: Final = 65_536
_ROUTE: Final = "unread body"


class UnreadBodies:
    """Discards the bodies of refused requests, some at the same time.

    Attributes
    ----------
    concurrency : ConcurrencyLimiter
        The requests whose bodies are being discarded.
    """

    def __init__(self) -> None:
        self.concurrency = ConcurrencyLimiter(MAX_UNREAD_BODIES)

    def discard(self, environ: dict[str, Any]) -> None:
        """Read what is left of the body, unless it is too large, or too many are being read."""
        declared = environ.get("CONTENT_LENGTH")
        if declared is None and "HTTP_TRANSFER_ENCODING" not in environ:
            return
        # A client that expects "100 Continue" waits for a response before it sends the body.
        if "HTTP_EXPECT" in environ or (declared and int(declared) > MAX_DISCARDED_BYTES):
            return
        context = RequestContext(environ, _ROUTE)
        try:
            self.concurrency.acquire(context)
        except OverloadedError:
            return
        try:
            read, left = environ["wsgi.input"].read, MAX_DISCARDED_BYTES
            while left > 0 and len(read(_PIECE)) == _PIECE:
                left -= _PIECE
        finally:
            self.concurrency.release(context)
