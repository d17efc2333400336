"""A candidate in the run's working folder: fitted, exported, and compared with scikit-learn."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from include.errors import ConversionError
from include.inference import GoldenRow, Scorer, check_golden
from include.provenance import file_digest
from include.records import ExportedCandidate, FittedCandidate, SnapshotRef
from include.spec import ModelSpec
from include.training.backend import Backend
from include.training.data import read_training_data
from include.training.export import export_onnx
from include.training.fit import fit, fit_baseline, load_fitted, save_fitted
from include.training.golden import golden_rows
from include.training.onnx_parity import compare, find_collapsed_columns, find_divergent_step
from include.training.reproducibility import single_threaded_blas
from include.training.threshold import choose_thresholds

ARTIFACT_FILES = ("model.onnx", "model.joblib", "signature.json", "golden.json")
LOCAL_BACKEND = Backend()
_GOLDEN_ROWS = TypeAdapter(tuple[GoldenRow, ...])


def fit_candidate(
    spec: ModelSpec, run_id: str, snapshot: SnapshotRef, folder: Path, backend: Backend = LOCAL_BACKEND
) -> FittedCandidate:
    """Fit the declared estimator, on `backend`, and the baseline; write both into `folder`."""
    data = read_training_data(spec, snapshot)
    started = time.monotonic()
    with backend.active(), single_threaded_blas(spec):
        candidate = fit(spec, data)
    fit_seconds = time.monotonic() - started
    folder.mkdir(parents=True, exist_ok=True)
    baseline = fit_baseline(spec, data)
    with backend.active():
        thresholds = choose_thresholds(spec, data, {"candidate": candidate, "baseline": baseline})
    fitted = {"model.joblib": candidate, "baseline.joblib": baseline}
    return FittedCandidate(
        model=spec.name,
        run_id=run_id,
        folder=str(folder),
        digests={name: save_fitted(estimator, folder / name) for name, estimator in fitted.items()},
        snapshot=snapshot,
        fit_seconds=fit_seconds,
        thresholds=thresholds,
    )


def export_candidate(spec: ModelSpec, fitted: FittedCandidate) -> ExportedCandidate:
    """Convert a candidate to ONNX, compare the two on the whole holdout, and record golden rows.

    Raises
    ------
    ConversionError
        When a step does not convert.
    """
    folder = Path(fitted.folder)
    estimator = _read(fitted, "model.joblib")
    data = read_training_data(spec, fitted.snapshot)
    onnx = export_onnx(spec, estimator)
    parity = compare(Scorer(onnx, data.signature), estimator, data.x_holdout, spec.parity_tolerance)
    signature = data.signature.model_copy(update={"single_row_exact": parity.single_row_exact})
    scorer = Scorer(onnx, signature)
    golden = golden_rows(scorer, data)
    check_golden(scorer, golden)
    (folder / "model.onnx").write_bytes(onnx)
    (folder / "signature.json").write_text(signature.to_json(), encoding="utf-8")
    (folder / "golden.json").write_bytes(_GOLDEN_ROWS.dump_json(golden, indent=1))
    return ExportedCandidate(
        fitted=fitted, parity=parity, digests={name: file_digest(folder / name) for name in ARTIFACT_FILES}
    )


def require_parity(spec: ModelSpec, exported: ExportedCandidate) -> None:
    """Require that ONNX answers as scikit-learn does.

    Raises
    ------
    ConversionError
        Naming the first step after which the two differ.
    """
    parity = exported.parity
    if parity.passed:
        return
    data = read_training_data(spec, exported.fitted.snapshot)
    advice = "Replace the step by one that converts faithfully, or do its work in features.sql."
    collapsed = [spec.features[position].name for position in find_collapsed_columns(data.x_holdout)]
    if collapsed:
        advice = (
            f"Values of {', '.join(collapsed)} lie as close as single precision can tell apart, and a threshold "
            "between two of them is rounded: subtract an origin or use a coarser unit in features.sql. "
            f"Otherwise: {advice}"
        )
    raise ConversionError(
        spec.name,
        find_divergent_step(_read(exported.fitted, "model.joblib"), data.x_holdout, spec.parity_tolerance),
        f"ONNX answers differently on the holdout's {parity.rows:,} rows: by up to {parity.largest_difference:.3g} "
        f"(allowed: {parity.tolerance:g}), with {parity.changed_labels:,} changed label(s)",
        advice,
    )


def read_baseline(fitted: FittedCandidate) -> Any:
    """Return the fitted baseline."""
    return _read(fitted, "baseline.joblib")


def _read(fitted: FittedCandidate, name: str) -> Any:
    return load_fitted(Path(fitted.folder) / name, fitted.digests[name])
