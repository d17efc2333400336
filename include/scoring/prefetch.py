"""One thread ahead: what is read, predicted and written at the same time, with bounds on what waits between."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")

_POLL_SECONDS = 0.1


class _Failed:
    """What the thread raised, on its way to the consumer."""

    def __init__(self, error: BaseException) -> None:
        self.error = error


class _End:
    """Nothing comes any more."""


@contextlib.contextmanager
def prefetch(items: Iterable[Item], *, queue_size: int = 2) -> Iterator[Iterator[Item]]:
    """Iterate over `items` in a thread of its own, at most `queue_size` of them ahead of the consumer.

    What `items` raises is raised where the consumer is. When the block is left early, the thread stops
    at its next item and is waited for, so that what it holds open is closed here.

    Parameters
    ----------
    items : iterable
        Consumed, and closed if it is a generator, in the thread.
    queue_size : int
        Most items that wait; it bounds the memory.
    """
    shelf: queue.Queue[Item | _Failed | _End] = queue.Queue(maxsize=queue_size)
    stop = threading.Event()

    def put(item: Item | _Failed | _End) -> None:
        while not stop.is_set():
            with contextlib.suppress(queue.Full):
                shelf.put(item, timeout=_POLL_SECONDS)
                return

    def work() -> None:
        source = iter(items)
        try:
            for item in source:
                put(item)
                if stop.is_set():
                    break
        except BaseException as error:  # noqa: BLE001  # it is raised again by the consumer
            put(_Failed(error))
        finally:
            close = getattr(source, "close", None)
            if close is not None:
                close()
            put(_End())

    thread = threading.Thread(target=work, name="prefetch", daemon=True)
    thread.start()
    try:
        yield _taken(shelf)
    finally:
        stop.set()
        thread.join()


def _taken(shelf: queue.Queue[Item | _Failed | _End]) -> Iterator[Item]:
    while True:
        item = shelf.get()
        if isinstance(item, _End):
            return
        if isinstance(item, _Failed):
            raise item.error
        yield item
