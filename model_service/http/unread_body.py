"""Reads and discards the body of a request that was refused before it was read.

If a server answers and closes a connection while the client still sends, the client's next packet is answered by a
reset. Many clients then report that instead of the response, which told them to wait, or to send a token. Therefore
the body is read after the response was sent, and the connection stays open. That is bounded in bytes, in time (by the
request timeout) and in the number of bodies, so that slow clients can never occupy the threads that refuse requests.
A client beyond that number waits a moment: the bodies of others may have arrived while their threads wait for a core.

Source: https://www.rfc-editor.org/rfc/rfc9112#section-9.6
"""

from __future__ import annotations

from collections.abc import Callable
from threading import BoundedSemaphore
from typing import Any, Final

from model_service.http.limits import ConcurrencyLimiter
from model_service.http.request_context import RequestContext

MAX_UNREAD_BODIES: Final = 32
MAX_WAITING_BODIES: Final = 32
MAX_DISCARDED_BYTES: Final = 16 * 1024 * 1024
_WAIT_SECONDS: Final = 1.0
# Large, because a thread waits for the interpreter after each piece.
_PIECE: Final = 262_144
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
        self._places = BoundedSemaphore(MAX_UNREAD_BODIES)
        self._waiting = BoundedSemaphore(MAX_WAITING_BODIES)

    def discard(self, environ: dict[str, Any]) -> None:
        """Read what is left of the body, unless it is too large, or too many are being read."""
        declared = environ.get("CONTENT_LENGTH")
        if declared is None and "HTTP_TRANSFER_ENCODING" not in environ:
            return
        # A client that expects "100 Continue" waits for a response before it sends the body.
        if "HTTP_EXPECT" in environ or (declared and int(declared) > MAX_DISCARDED_BYTES):
            return
        if not self._acquire_place():
            return
        context = RequestContext(environ, _ROUTE)
        self.concurrency.acquire(context)
        try:
            _read(environ["wsgi.input"].read, int(declared) if declared else MAX_DISCARDED_BYTES)
        finally:
            self.concurrency.release(context)
            self._places.release()

    def _acquire_place(self) -> bool:
        if self._places.acquire(blocking=False):
            return True
        if not self._waiting.acquire(blocking=False):
            return False
        try:
            return self._places.acquire(timeout=_WAIT_SECONDS)
        finally:
            self._waiting.release()


def _read(read: Callable[[int], bytes], left: int) -> None:
    """Read `left` bytes, or fewer if the body ends before."""
    while left > 0:
        asked = min(left, _PIECE)
        if len(read(asked)) < asked:
            return
        left -= asked
