"""The rehearsal of a candidate: the real service, started on it alone before anything is decided."""

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
from include.steps.manifest import manifest_of


def rehearse_candidate(spec: ModelSpec, exported: ExportedCandidate, resources: Resources) -> Rehearsal:
    """Start the service on the candidate, ask it what clients will ask and what they must not, and time it.

    The candidate is saved as an artifact in a scratch home, exactly as it would be registered, and the
    service is pinned to it. What it does wrong is told in the record, and it is for the gates to judge.
    """
    folder = Path(exported.fitted.folder)
    log = folder / "rehearsal.log"
    log.unlink(missing_ok=True)  # of an earlier try
    # Under the system's folder for such things: a path short enough, and on a disk that is not shared.
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
