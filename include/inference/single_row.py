"""One row at a time, in memory that ONNX Runtime reads and writes in place.

A call of a session with an array looks up names, wraps the array, makes the outputs and copies them into arrays: of a
small forest's single row that is most of the time. Bound once to memory of its own (I/O binding), a call does nothing
but run the graph. The numbers are the same: it is the same session.

Source: https://onnxruntime.ai/docs/api/python/api_summary.html#iobinding
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import numpy as np
import onnxruntime
from numpy.typing import NDArray


class TensorSpec(NamedTuple):
    """A name of the graph's, and the shape and type that it has here."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any] = np.dtype(np.float32)


class _Place(NamedTuple):
    """Where one thread at a time has a row scored."""

    row: NDArray[np.float32]
    scores: NDArray[Any]
    binding: Any  # ONNX Runtime's own, which has no type


class SingleRow:
    """Scores single rows. Safe to share between threads: each takes a place of its own, made when none is free.

    Parameters
    ----------
    session : onnxruntime.InferenceSession
    given, taken : TensorSpec
        The graph's input, float32, and the output that holds the scores. Their first axis has as many places as the
        graph is to be given copies of the row; the first copy's scores are taken.
    """

    def __init__(self, session: onnxruntime.InferenceSession, given: TensorSpec, taken: TensorSpec) -> None:
        self._session = session
        self._given, self._taken = given, taken
        # What `InferenceSession.run_with_iobinding` calls.
        self._run = session._sess.run_with_iobinding  # noqa: SLF001
        self._free: list[_Place] = []

    def score(self, values: Sequence[float]) -> list[float]:
        """Return the scores of a row, as many as the graph gives a row."""
        try:
            place = self._free.pop()
        except IndexError:
            place = self._made()
        row, scores, binding = place
        row[:] = values
        self._run(binding, None)
        found = cast(list[float], scores[0].tolist())
        self._free.append(place)
        return found

    def _made(self) -> _Place:
        row = np.zeros(self._given.shape, dtype=np.float32)
        scores = np.zeros(self._taken.shape, dtype=self._taken.dtype)
        bound = self._session.io_binding()
        bound.bind_input(self._given.name, "cpu", 0, np.float32, row.shape, row.ctypes.data)
        bound.bind_output(self._taken.name, "cpu", 0, self._taken.dtype.type, scores.shape, scores.ctypes.data)
        # As rows, whatever the graph's own shape: a regression's may have one axis only.
        return _Place(row, scores.reshape(len(scores), -1), bound._iobinding)  # noqa: SLF001  # what the session takes
