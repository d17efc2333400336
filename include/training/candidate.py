"""A candidate in the run's working folder: fitted, exported, and compared with scikit-learn."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from include.errors import ConversionError
from include.inference import GoldenRow, ModelSignature, Scorer, check_golden
from include.progress import SILENT, Progress
from include.provenance import file_digest
from include.records import ExportedCandidate, FittedCandidate, ParityReport, SnapshotRef
from include.spec import QUERY_FILE, ModelSpec
from include.training.backend import Backend
from include.training.data import TrainingData, read_training_data
from include.training.estimator import build_estimator
from include.training.export import export_onnx
from include.training.fit import fit, fit_baseline, load_fitted, save_fitted
from include.training.golden import golden_rows
from include.training.onnx_parity import (
    Subject,
    batches_agree,
    compare_holdout,
    compare_label_changes,
    compare_rows,
    find_divergent_step,
    margins,
    served_labels,
    single_rows_agree,
    summarised,
)
from include.training.probes import label_change_probes, make_probes
from include.training.reproducibility import single_threaded_blas
from include.training.snapshot import read_query
from include.training.threshold import choose_thresholds, decision_threshold
from include.training.tree_splits import feature_thresholds

ARTIFACT_FILES = ("model.onnx", "model.joblib", "signature.json", QUERY_FILE, "golden.json")
LOCAL_BACKEND = Backend()
_GOLDEN_ROWS = TypeAdapter(tuple[GoldenRow, ...])


def fit_candidate(
    spec: ModelSpec,
    run_id: str,
    snapshot: SnapshotRef,
    folder: Path,
    backend: Backend = LOCAL_BACKEND,
    progress: Progress = SILENT,
) -> FittedCandidate:
    """Fit the declared estimator, on `backend`, and the baseline; write both into `folder`.

    Raises
    ------
    EstimatorError
        When the estimator cannot be built or trained, or does not fit the task.
    TargetError, PrecisionError, NotEnoughDataError
        When the rows are such that nothing can learn from them.
    """
    estimator = build_estimator(spec)  # before the rows are read: a mistake in it is seen at once
    data = read_training_data(spec, snapshot)
    started = time.monotonic()
    with backend.active(), single_threaded_blas(spec):
        candidate = fit(spec, data, estimator, progress)
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


@dataclass(frozen=True, slots=True)
class ConvertedCandidate:
    """A candidate's graph and signature, compared with the estimator."""

    onnx: bytes
    signature: ModelSignature
    parity: ParityReport


def convert_candidate(
    spec: ModelSpec, estimator: Any, data: TrainingData, chosen_threshold: float | None = None
) -> ConvertedCandidate:
    """Convert an estimator, and compare its graph with it on the holdout and on probes.

    Parameters
    ----------
    chosen_threshold : float, optional
        The decision threshold that the declaration gives.

    Raises
    ------
    ConversionError
        When a step does not convert, or the estimator does not accept what the declaration lets in.
    """
    threshold = decision_threshold(spec, estimator, chosen_threshold)
    signature = data.signature.model_copy(update={"decision_threshold": threshold})
    onnx = export_onnx(spec, estimator)
    scorer = Scorer(onnx, signature)
    single_exact = single_rows_agree(scorer, data.x_holdout)
    if not single_exact:
        signature = signature.model_copy(update={"single_row_exact": False})
        scorer = Scorer(onnx, signature)
    subject = Subject(spec.name, estimator, scorer, spec.parity_tolerance, data.x_holdout)
    kinds = [compare_holdout(subject)]
    classes = spec.task != "regression"
    probes = make_probes(
        signature,
        data.x_train,
        feature_thresholds(onnx),
        (lambda rows: margins(estimator, rows)) if classes else None,
        spec.seed,
    )
    kinds += [found for found in (compare_rows(subject, each) for each in probes) if found.rows]
    if classes:
        beside = label_change_probes(signature, data.x_train, lambda rows: served_labels(scorer, rows), spec.seed)
        kinds += [compare_label_changes(subject, beside)] if len(beside.rows) else []
    parity = summarised(
        subject, kinds, single_row_exact=single_exact, batch_exact=batches_agree(scorer, data.x_holdout)
    )
    return ConvertedCandidate(onnx, signature, parity)


def export_candidate(spec: ModelSpec, fitted: FittedCandidate) -> ExportedCandidate:
    """Convert a candidate to ONNX, compare the two, and record golden rows.

    Raises
    ------
    ConversionError
        When a step does not convert, or the estimator does not accept what the declaration lets in.
    """
    folder = Path(fitted.folder)
    data = read_training_data(spec, fitted.snapshot)
    converted = convert_candidate(spec, _read(fitted, "model.joblib"), data, fitted.thresholds.get("candidate"))
    scorer = Scorer(converted.onnx, converted.signature)
    golden = golden_rows(scorer, data)
    check_golden(scorer, golden)
    (folder / "model.onnx").write_bytes(converted.onnx)
    (folder / "signature.json").write_text(converted.signature.to_json(), encoding="utf-8")
    (folder / QUERY_FILE).write_bytes(read_query(fitted.snapshot))
    (folder / "golden.json").write_bytes(_GOLDEN_ROWS.dump_json(golden, indent=1))
    return ExportedCandidate(
        fitted=fitted, parity=converted.parity, digests={name: file_digest(folder / name) for name in ARTIFACT_FILES}
    )


def require_parity(spec: ModelSpec, exported: ExportedCandidate) -> None:
    """Require that ONNX answers as scikit-learn does.

    Raises
    ------
    ConversionError
        Naming the first step after which the two differ, and the rows on which they do.
    """
    parity = exported.parity
    if not parity.passed:
        data = read_training_data(spec, exported.fitted.snapshot)
        raise divergence_error(spec, _read(exported.fitted, "model.joblib"), data, parity)


def divergence_error(spec: ModelSpec, estimator: Any, data: TrainingData, parity: ParityReport) -> ConversionError:
    """Return the error of a graph that does not answer as the estimator does."""
    step = find_divergent_step(estimator, data.x_holdout, spec.parity_tolerance)
    advice = (
        "If it computes in single precision with large numbers, or before a tree, scale them, or let it compute in "
        "double: put FunctionTransformer(np.float64) before it. Otherwise replace the step by one of "
        "docs/reference/estimators.md that is exact, or do its work in features.sql."
    )
    off = [each for each in parity.kinds if each.largest_difference > parity.tolerance or each.changed_labels]
    if not off:
        return ConversionError(spec.name, step, "its last bits depend on the number of rows in a batch", advice)
    shown = "; ".join(
        f"{each.kind}: {each.rows:,} rows, largest difference {each.largest_difference:.3g}, changed labels "
        f"{each.changed_labels:,}"
        for each in off
    )
    return ConversionError(
        spec.name, step, f"ONNX answers differently from scikit-learn (allowed: {parity.tolerance:g}): {shown}", advice
    )


def read_baseline(fitted: FittedCandidate) -> Any:
    """Return the fitted baseline."""
    return _read(fitted, "baseline.joblib")


def _read(fitted: FittedCandidate, name: str) -> Any:
    return load_fitted(Path(fitted.folder) / name, fitted.digests[name])
