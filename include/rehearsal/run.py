"""The rehearsal itself: start the service, send requests and a load, stop it, and report."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from include.inference import GoldenRow, ModelSignature
from include.records import Rehearsal
from include.rehearsal.golden import golden_faults
from include.rehearsal.load import Timings, run_load
from include.rehearsal.malformed import malformed_faults
from include.rehearsal.sandbox import Service, ServiceSandbox
from include.service_client import NO_ANSWER, ServiceClient, request_body

log = logging.getLogger(__name__)

READY_SECONDS = 60.0
LOOK_EVERY = 0.05
MAX_FAULTS = 10


@dataclass(slots=True)
class _Course:
    """The progress of a rehearsal, and its faults so far."""

    ready: bool = False
    golden_exact: bool = False
    malformed_refused: bool = False
    timings: Timings = field(default_factory=Timings)
    memory_mib: float | None = None
    faults: list[str] = field(default_factory=list)


def rehearse(
    sandbox: ServiceSandbox, signature: ModelSignature, golden: Sequence[GoldenRow], onnx_digest: str
) -> Rehearsal:
    """Start the service with the candidate, send it requests and a load, and stop it.

    Parameters
    ----------
    sandbox : ServiceSandbox
        With the candidate's artifact in place.
    signature : ModelSignature
        Of the candidate, as training wrote it.
    golden : sequence of GoldenRow
        The answers of training.
    onnx_digest : str
        The SHA-256 of the graph that is rehearsed.

    Returns
    -------
    Rehearsal
        It never raises for a fault of the candidate: each fault is a sentence in ``faults``.
    """
    started, course = time.monotonic(), _Course()
    with sandbox.service() as service:
        try:
            _act(sandbox, service, signature, golden, course)
        except NO_ANSWER as error:
            alive = "" if service.alive else " (its process has ended)"
            course.faults.append(f"the service stopped answering{alive}: {error}; its log ends: {service.log_tail()}")
    for fault in course.faults:
        log.warning("rehearsal of %s: %s", signature.model, fault)
    report = Rehearsal(
        model=signature.model,
        artifact_digest=sandbox.artifact_digest,
        onnx_digest=onnx_digest,
        ready=course.ready,
        golden_rows=len(golden),
        golden_exact=course.golden_exact,
        malformed_refused=course.malformed_refused,
        requests=len(course.timings.milliseconds),
        latency_p50_ms=course.timings.percentile(0.5),
        latency_p99_ms=course.timings.percentile(0.99),
        memory_mib=course.memory_mib,
        size_bytes=_size(sandbox.artifact),
        seconds=time.monotonic() - started,
        faults=tuple(course.faults[:MAX_FAULTS]),
    )
    log.info("rehearsal of %s: %s", signature.model, report.sentence)
    return report


def _act(
    sandbox: ServiceSandbox, service: Service, signature: ModelSignature, golden: Sequence[GoldenRow], course: _Course
) -> None:
    client = service.client
    fault = _not_ready(client, service)
    if fault is not None:
        course.faults.append(fault)
        return
    course.ready = True
    wrong = list(golden_faults(client, signature, golden, sandbox.artifact_digest))
    course.golden_exact = not wrong
    accepted = list(malformed_faults(client, signature, golden[0].features, sandbox.settings))
    course.malformed_refused = not accepted
    course.faults += [*wrong, *accepted]
    path = f"/v1/models/{signature.model}/predict"
    course.timings = run_load(service.port, path, client.headers, [request_body(row.features) for row in golden])
    course.memory_mib = service.memory_mib()
    if course.timings.refused:
        course.faults.append(f"under load, {course.timings.refused} request(s) were not answered with status 200")


def _not_ready(client: ServiceClient, service: Service) -> str | None:
    """Wait until the service is ready, and return None; otherwise return the reason why it is not."""
    deadline = time.monotonic() + READY_SECONDS
    reported = "nothing"
    while service.alive and time.monotonic() < deadline:
        try:
            answer = client.send("GET", "/ready")
        except NO_ANSWER:
            time.sleep(LOOK_EVERY)
            continue
        if answer.ok:
            return None
        document = answer.document
        reported = answer.body[:500].decode(errors="replace")
        faults = [each["load_error"] for each in (document or {}).get("models", {}).values() if each.get("load_error")]
        if faults:  # a pinned service does not retry a refused artifact
            return f"the service refused the candidate: {'; '.join(faults)}"
        time.sleep(LOOK_EVERY)
    if not service.alive:
        return f"the service ended before it was ready; its log ends: {service.log_tail()}"
    return f"the service was not ready within {READY_SECONDS:g} s; /ready answered: {reported}"


def _size(artifact: Path) -> int:
    """Return the size in bytes of the files that the service loads: all but the pickle, which is for people."""
    return sum(file.stat().st_size for file in artifact.iterdir() if file.suffix != ".joblib")
