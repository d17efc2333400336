"""Registration of a candidate as a version; its evidence is one of the signed files of the artifact."""

from __future__ import annotations

import hashlib
import json
import logging
from pathlib import Path

from include import evidence
from include.evidence.pack import ModelDeclaration
from include.provenance import VerifiedFiles, code_digest, library_versions
from include.records import (
    CARD_DATA,
    CardData,
    Decision,
    Evaluation,
    ExportedCandidate,
    ModelVersion,
    Rehearsal,
    SnapshotRef,
)
from include.registry import CARD, EVIDENCE, Manifest
from include.resources import Resources
from include.settings import set_for_libraries
from include.spec import ModelSpec
from include.steps.declaration import check_pinned

log = logging.getLogger(__name__)


def register_candidate(
    spec: ModelSpec,
    exported: ExportedCandidate,
    compared: Evaluation,
    decision: Decision,
    rehearsal: Rehearsal | None,
    resources: Resources,
    requested_by: str | None,
    *,
    again: bool = False,
) -> ModelVersion:
    """Register the candidate with the decision, accepted or rejected, and its evidence.

    A run registers once: called again, this returns the version that was registered before. Without `again`, an origin
    is registered once, too: then this returns the version of the other run.

    Raises
    ------
    DeclarationChangedError
        When spec.py or features.sql is not what it was when the run read its rows.
    """
    fitted = exported.fitted
    folder = Path(fitted.folder)
    set_for_libraries("MPLCONFIGDIR", str(resources.settings.home / "matplotlib"))  # Matplotlib's cache of fonts
    card = _card_data(folder, compared)
    plots = evidence.draw(card, spec.task) if card else {}
    manifest = manifest_of(spec, exported, resources)
    declaration = ModelDeclaration.of(spec, tuple(gate.model_dump(mode="json") for gate in spec.policy))
    check_pinned(spec, (exported,))  # after its files were read

    def save(version: int) -> str:
        pack = evidence.EvidencePack(
            version=version,
            run_id=fitted.run_id,
            declaration=declaration,
            snapshot=fitted.snapshot,
            fit_seconds=fitted.fit_seconds,
            evaluation=compared,
            decision=decision,
            parity=exported.parity,
            rehearsal=rehearsal,
            reproducibility=exported.reproducibility,
            card=card,
            files=manifest.files,
            spec_digest=manifest.spec_digest,
            data_digest=manifest.data_digest,
            code_digest=manifest.code_digest,
            libraries=manifest.libraries,
            created_at=manifest.created_at,
        )
        written = {EVIDENCE: pack.to_json(), CARD: evidence.card_html(pack, plots)}
        for name, content in written.items():
            (folder / name).write_bytes(content)
        digests = {name: hashlib.sha256(content).hexdigest() for name, content in written.items()}
        whole = manifest.model_copy(update={"files": manifest.files | digests})
        return resources.artifacts.put(folder, whole, version)

    version = resources.ledger.register(
        manifest,
        fitted.run_id,
        compared,
        decision,
        save,
        needs_approval=spec.approval is not None,
        requested_by=requested_by,
        origin_digest=origin_of(fitted.snapshot),
        again=again,
    )
    log.info(
        "version %d of %s is registered; model card: %s or %s",
        version.version,
        spec.name,
        resources.settings.card_url(spec.name, version.version),
        resources.artifacts.locate(spec.name, version.version, CARD, artifact_digest=version.artifact_digest),
    )
    return version


def origin_of(snapshot: SnapshotRef) -> str:
    """Return the SHA-256 of all that a version of this snapshot is made from.

    The declaration, the rows and their split by time, the code of Sluice and the versions of the libraries: a second
    training would give the same version.
    """
    origin = {
        "spec": snapshot.spec_digest,
        "data": snapshot.digest,
        "split": snapshot.split.to_plain(),
        "code": code_digest(),
        "libraries": library_versions(),
    }
    return hashlib.sha256(json.dumps(origin, sort_keys=True).encode()).hexdigest()


def manifest_of(spec: ModelSpec, exported: ExportedCandidate, resources: Resources) -> Manifest:
    """Return the manifest of a candidate: its files, and the digests of their origin."""
    return Manifest(
        model=spec.name,
        files=exported.digests,
        spec_digest=exported.fitted.snapshot.spec_digest or spec.digest,
        data_digest=exported.fitted.snapshot.digest,
        code_digest=code_digest(),
        libraries=library_versions(),
        created_at=resources.clock(),
    )


def _card_data(folder: Path, compared: Evaluation) -> CardData | None:
    """Return the curves that the evaluation wrote into the run's folder, if any."""
    if compared.card_digest is None:
        return None
    content = VerifiedFiles(folder, {CARD_DATA: compared.card_digest}).read(CARD_DATA)
    return CardData.model_validate_json(content)
