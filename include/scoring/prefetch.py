"""Prefetching in a thread, so that reading, predicting and writing run at the same time, with bounded queues."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")

_POLL_SECONDS = 0.1


class _Failed:
    """An error of the thread, passed to the consumer."""

    def __init__(self, error: BaseException) -> None:
        self.error = error


class _End:
    """The end of the items."""


@contextlib.contextmanager
def prefetch(items: Iterable[Item], *, queue_size: int = 2) -> Iterator[Iterator[Item]]:
    """Iterate over `items` in a separate thread, which is at most `queue_size` items ahead of the consumer.

    An error of `items` is raised in the consumer. When the block is left early, the thread stops at its next item and
    is joined, so that what it opened is closed.

    Parameters
    ----------
    items : iterable
        Consumed, and closed if it is a generator, in the thread.
    queue_size : int
        Maximum number of items in the queue; it bounds the memory.
    """
    buffer: queue.Queue[Item | _Failed | _End] = queue.Queue(maxsize=queue_size)
    stop = threading.Event()

    def put(item: Item | _Failed | _End) -> None:
        while not stop.is_set():
            with contextlib.suppress(queue.Full):
                buffer.put(item, timeout=_POLL_SECONDS)
                return

    def work() -> None:
        source = iter(items)
        try:
            for item in source:
                put(item)
                if stop.is_set():
                    break
        except BaseException as error:  # noqa: BLE001  # the consumer raises it again
            put(_Failed(error))
        finally:
            close = getattr(source, "close", None)
            if close is not None:
                close()
            put(_End())

    thread = threading.Thread(target=work, name="prefetch", daemon=True)
    thread.start()
    try:
        yield _taken(buffer)
    finally:
        stop.set()
        thread.join()


def _taken(buffer: queue.Queue[Item | _Failed | _End]) -> Iterator[Item]:
    while True:
        item = buffer.get()
        if isinstance(item, _End):
            return
        if isinstance(item, _Failed):
            raise item.error
        yield item
