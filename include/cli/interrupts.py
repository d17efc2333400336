"""Ctrl-C waits until a module is imported.

Python raises KeyboardInterrupt wherever it is. Few modules expect that while they are being imported, least of all
their code in C: it becomes an error with a traceback (pandas, pydantic), or the process crashes (onnx). Most of a short
command is imports. The ``spec.py`` of a model is run, not imported: it can be interrupted.
"""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

_AGAIN_SECONDS: Final = 0.01
_IMPORT: Final = ("<frozen importlib._bootstrap>", "_find_and_load")


@contextmanager
def interrupts_after_imports() -> Iterator[None]:
    """Raise KeyboardInterrupt for SIGINT, but not before the modules that are being imported are there."""
    # A signal that the shell has us ignore stays ignored; and only the main thread may set handlers.
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    former = {number: signal.signal(number, _interrupt) for number in (signal.SIGINT, signal.SIGALRM)}
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in former.items():
            signal.signal(number, handler)


def _interrupt(_number: int, frame: FrameType | None) -> None:
    while frame is not None:
        if (frame.f_code.co_filename, frame.f_code.co_name) == _IMPORT:
            signal.setitimer(signal.ITIMER_REAL, _AGAIN_SECONDS)
            return
        frame = frame.f_back
    logging.getLogger("psycopg").setLevel(logging.CRITICAL)  # of transactions that end in the middle
    raise KeyboardInterrupt
