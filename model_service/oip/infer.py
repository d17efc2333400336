"""One inference: bytes in, bytes out."""

from __future__ import annotations

from model_service.oip.answer import InferAnswer, OutputWriter
from model_service.oip.request import request_of
from model_service.slots import LoadedModel
from model_service.visit import Visit


def infer(loaded: LoadedModel, body: bytes, head_bytes: str | None, most_rows: int, visit: Visit) -> InferAnswer:
    """Answer an inference request; see `request_of` for its form and the errors.

    Raises
    ------
    RowsRejectedError
        If values are not what the model's signature allows.
    """
    signature = loaded.scorer.signature
    request = request_of(body, head_bytes, signature, most_rows)
    writer = OutputWriter(signature)
    writer.check(request.outputs)
    visit.rows = request.rows
    visit.lap("decode")
    matrix = loaded.columns.encode(request.columns, request.rows, request.path_of)
    visit.lap("validate")
    scores = loaded.scorer.score(matrix)
    visit.lap("predict")
    about = (loaded.model, str(loaded.version), request.id)
    answer = writer.write(about, scores, request.outputs, binary=request.binary)
    visit.lap("encode")
    return answer
