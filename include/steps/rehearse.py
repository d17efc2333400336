"""The rehearsal of a candidate: before the gates, the real service runs with only this candidate."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from include.inference import ModelSignature, load_golden
from include.provenance import VerifiedFiles
from include.records import ExportedCandidate, Rehearsal
from include.registry import LocalArtifactStore
from include.rehearsal import ServiceSandbox, rehearse
from include.rehearsal.sandbox import VERSION
from include.resources import Resources
from include.spec import ModelSpec
from include.steps.register import manifest_of


def rehearse_candidate(spec: ModelSpec, exported: ExportedCandidate, resources: Resources) -> Rehearsal:
    """Start the service with the candidate, send it valid and malformed requests, and measure latency and memory.

    The candidate is saved as an artifact in a scratch home, exactly as it would be registered, and the service is
    pinned to it. Faults are reported in the record; the gates decide on them.
    """
    folder = Path(exported.fitted.folder)
    log = folder / "rehearsal.log"
    log.unlink(missing_ok=True)  # left by an earlier try
    # In the system's temporary folder: its path is short, and its disk is local.
    home = Path(tempfile.mkdtemp(prefix="sluice-rehearsal-"))
    try:
        with resources.telemetry.step(spec.name, "rehearse"):
            store = LocalArtifactStore(home / "artifacts", resources.artifacts.keys)
            digest = store.put(folder, manifest_of(spec, exported, resources), VERSION)
            sandbox = ServiceSandbox(spec, home, digest, resources.settings, log)
            files = VerifiedFiles(folder, exported.digests)
            signature = ModelSignature.from_json(files.read("signature.json"))
            return rehearse(sandbox, signature, load_golden(files), exported.digests["model.onnx"])
    finally:
        shutil.rmtree(home, ignore_errors=True)
