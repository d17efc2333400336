"""The golden rows, predicted over HTTP: the answers must be those of training, bit for bit."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import Any

from include.inference import GoldenRow, ModelSignature
from include.service_client import ServiceClient, ServiceResponse, request_body, scores_of


def golden_faults(
    client: ServiceClient, signature: ModelSignature, golden: Sequence[GoldenRow], artifact_digest: str
) -> Iterator[str]:
    """Request each row alone, then all at once; yield a sentence for each answer that differs in any bit.

    Parameters
    ----------
    artifact_digest : str
        The artifact digest that every answer must contain.
    """
    path = f"/v1/models/{signature.model}/predict"
    for position, row in enumerate(golden):
        answer = client.send("POST", path, request_body(row.features))
        yield from _compare([row], answer, signature, artifact_digest, f"golden row {position}")
    everything = client.send("POST", path, request_body([row.features for row in golden]))
    yield from _compare(golden, everything, signature, artifact_digest, "the golden rows in one request")


def _compare(
    rows: Sequence[GoldenRow], answer: ServiceResponse, signature: ModelSignature, artifact_digest: str, what: str
) -> Iterator[str]:
    document = answer.document
    if answer.status != 200 or not isinstance(document, dict):  # 200 OK
        yield f"{what}: expected an answer; found status {answer.status}: {answer.body[:200].decode(errors='replace')}"
        return
    if document.get("artifact_digest") != artifact_digest:
        yield f"{what}: expected an answer of artifact {artifact_digest[:12]}…; found {document.get('artifact_digest')}"
    predictions = document.get("predictions") or [document.get("prediction")]
    if len(predictions) != len(rows):
        yield f"{what}: expected {len(rows)} predictions; found {len(predictions)}"
        return
    for row, prediction in zip(rows, predictions, strict=True):
        got = _scores(prediction, signature)
        if got is None or _bits(got) != _bits(row.answer):
            yield f"{what}: expected {list(row.answer)}, as in training; the service answered {got}"
            return


def _scores(prediction: Any, signature: ModelSignature) -> tuple[float, ...] | None:
    """Return the scores of one prediction in the signature's order; None when its structure is wrong."""
    try:
        return scores_of(prediction, signature.classes)
    except (KeyError, TypeError, ValueError):
        return None


def _bits(scores: Sequence[float]) -> bytes:
    return struct.pack(f"<{len(scores)}d", *scores)
