"""The rehearsal, with the real service as a process: what it lets pass, what it refuses, and that nothing is left."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import onnx
import psutil
import pytest
from pydantic import SecretStr

from include import pipeline
from include.inference import GoldenRow, ModelSignature, RowEncoder, load_golden, load_scorer
from include.provenance import VerifiedFiles, file_digest
from include.records import Evaluation, ExportedCandidate, Rehearsal
from include.registry import LocalArtifactStore
from include.rehearsal import ServiceSandbox, rehearse
from include.rehearsal.environment import service_environment
from include.rehearsal.sandbox import VERSION
from include.resources import open_resources
from include.settings import REPOSITORY, Pin
from include.signing import Keyring, write_pair
from include.steps.register import manifest_of
from tests.rehearsal.conftest import Trained


def services_on(folder: Path) -> list[int]:
    """Return the processes that still work in `folder` or below it."""
    found = []
    for process in psutil.process_iter():
        try:
            if "model_service" in process.cmdline() and str(folder) in process.cwd():
                found.append(process.pid)
        except psutil.Error:
            continue
    return found


def perturb_graph(file: Path) -> None:
    """Have the graph answer something else: the first tree's leaves are worth a little more."""
    graph = onnx.load(file)
    for node in graph.graph.node:
        for attribute in node.attribute:
            if attribute.name == "leaf_weights":
                changed = onnx.numpy_helper.to_array(attribute.t) + 0.01
                attribute.t.CopyFrom(onnx.numpy_helper.from_array(changed, attribute.t.name))
    onnx.save(graph, file)


def digested_again(candidate: ExportedCandidate) -> ExportedCandidate:
    """Return the candidate with the digests that its files have now: whoever spoilt them hid it."""
    folder = Path(candidate.fitted.folder)
    return candidate.model_copy(update={"digests": {name: file_digest(folder / name) for name in candidate.digests}})


def test_a_good_candidate_is_ready_exact_measured_and_stopped(
    trained: Trained, candidate: ExportedCandidate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # as in Airflow: no task runs in the checkout
    report = pipeline.rehearse_candidate(trained.spec, candidate, trained.resources)
    assert report.faults == ()
    assert report.passed
    assert (report.ready, report.golden_exact, report.malformed_refused) == (True, True, True)
    assert report.golden_rows == 20
    assert report.requests == 600
    assert report.latency_p50_ms is not None
    assert report.latency_p99_ms is not None
    assert 0 < report.latency_p50_ms <= report.latency_p99_ms
    assert report.memory_mib is not None
    assert 10 < report.memory_mib < 1000
    served = [file for file in Path(candidate.fitted.folder).iterdir() if file.name in candidate.digests]
    assert report.size_bytes > sum(file.stat().st_size for file in served if file.suffix != ".joblib")
    assert report.onnx_digest == candidate.digests["model.onnx"]
    assert Rehearsal.from_plain(report.to_plain()) == report
    log = (Path(candidate.fitted.folder) / "rehearsal.log").read_text()
    assert "listening on http://127.0.0.1:" in log
    assert "Traceback" not in log


def test_with_the_settings_of_production_but_a_database_and_keys_of_its_own(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the service is started with: production's limits, and nothing that reaches production."""
    monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", "not for the service")
    monkeypatch.setenv("SLUICE_DATABASE_URL", "postgresql://from/outside")
    settings = trained.resources.settings.model_copy(
        update={
            "service_max_rows": 7,
            "service_rate_limit": 1.0,
            "service_sample_rate": 1.0,
            "statsd_host": "stats.example",
            "auth_jwks_url": "https://issuer.example/keys",
            "auth_audience": "clients",
            "service_workers": 16,
            "signing_key": SecretStr(private_key(tmp_path)),
        }
    )
    pin = Pin(version=VERSION, artifact_digest="0" * 64)
    environment = service_environment(settings, "parcels", tmp_path, pin, 1, "s" * 32)
    ours = {name: value for name, value in environment.items() if name.startswith(("SLUICE_", "AIRFLOW"))}
    assert ours.pop("SLUICE_HOME") == str(tmp_path)
    assert ours.pop("SLUICE_MODELS_DIR") == str(tmp_path / "models")
    assert ours.pop("SLUICE_TRUSTED_KEYS") == ",".join(Keyring.of(settings).trusted_lines())
    assert json.loads(ours.pop("SLUICE_SERVICE_PINNED_VERSIONS")) == {
        "parcels": {"version": VERSION, "artifact_digest": "0" * 64}
    }
    assert ours == {
        "SLUICE_SERVICE_MAX_ROWS": "7",
        "SLUICE_AUTH_AUDIENCE": "clients",
        "SLUICE_AUTH_SECRET": "s" * 32,
        "SLUICE_DEFAULT_MODEL": "parcels",
        "SLUICE_SERVICE_HOST": "127.0.0.1",
        "SLUICE_SERVICE_PORT": "1",
        "SLUICE_SERVICE_WORKERS": "2",
        "SLUICE_SERVICE_RATE_LIMIT": "0",
        "SLUICE_SERVICE_SAMPLE_RATE": "0",
        "SLUICE_ALERT_CHANNELS": "{}",
    }


def test_a_graph_that_loads_but_answers_otherwise_than_at_training_is_refused_and_the_candidate_rejected(
    trained: Trained, candidate: ExportedCandidate
) -> None:
    """From the service's refusal to the ledger: a rejected version, with the sentence."""
    spec, resources = trained.spec, trained.resources
    perturb_graph(Path(candidate.fitted.folder) / "model.onnx")
    spoilt = digested_again(candidate)
    report = pipeline.rehearse_candidate(spec, spoilt, resources)
    assert (report.ready, report.passed, report.requests) == (False, False, 0)
    assert "the service refused the candidate" in report.faults[0]
    assert "golden row 0 (alone) must get" in report.faults[0]
    compared = Evaluation(model=spec.name, rows=400, candidate={"roc_auc": 0.9}, baseline={"roc_auc": 0.5})
    version = pipeline.evaluate_gates(spec, spoilt, compared, report, resources)
    assert not version.decision.accepted
    (refusal,) = [gate for gate in version.decision.gates if gate.gate == "rehearsal"]
    assert not refusal.passed
    assert "golden row 0 (alone) must get" in refusal.sentence


def test_so_is_one_whose_golden_answers_were_changed_along_with_it(
    trained: Trained, candidate: ExportedCandidate, tmp_path: Path
) -> None:
    """The service has no way to know; the rehearsal asks for the answers that training wrote down."""
    folder = Path(candidate.fitted.folder)
    told_by_training = load_golden(VerifiedFiles(folder, candidate.digests))
    perturb_graph(folder / "model.onnx")
    scorer = load_scorer(VerifiedFiles(folder, digested_again(candidate).digests))
    answers = scorer.score(RowEncoder(scorer.signature).encode([row.features for row in told_by_training]))
    forged = [
        GoldenRow(features=row.features, answer=tuple(answer)).to_plain()
        for row, answer in zip(told_by_training, answers.tolist(), strict=True)
    ]
    (folder / "golden.json").write_text(json.dumps(forged))
    spoilt = digested_again(candidate)
    store = LocalArtifactStore(tmp_path / "scratch" / "artifacts", trained.resources.artifacts.keys)
    digest = store.put(folder, manifest_of(trained.spec, spoilt, trained.resources), VERSION)
    stage = ServiceSandbox(trained.spec, tmp_path / "scratch", digest, trained.resources.settings, tmp_path / "log")
    report = rehearse(stage, scorer.signature, told_by_training, spoilt.digests["model.onnx"])
    assert report.ready
    assert not report.golden_exact
    assert not report.passed
    assert "golden row 0: expected" in report.faults[0]
    assert services_on(tmp_path) == []


def test_an_artifact_signed_by_another_key_is_refused(
    trained: Trained, candidate: ExportedCandidate, tmp_path: Path
) -> None:
    """As when whoever trains has a key that the service was not told to trust."""
    resources = trained.resources
    trusted = ",".join(resources.artifacts.keys.trusted_lines())
    settings = resources.settings.model_copy(
        update={"signing_key": SecretStr(private_key(tmp_path)), "trusted_keys": trusted}
    )
    with open_resources(settings) as others:
        report = pipeline.rehearse_candidate(trained.spec, candidate, others)
    assert (report.ready, report.passed, report.requests) == (False, False, 0)
    assert "the service refused the candidate" in report.faults[0]
    assert "key" in report.faults[0]


def private_key(folder: Path) -> str:
    """Return a new private key, in its PEM form."""
    private, _ = write_pair(folder / "other keys")
    return private.read_text()


@pytest.mark.slow
def test_a_service_that_ends_by_itself_is_told_with_its_last_words(
    trained: Trained, candidate: ExportedCandidate, tmp_path: Path
) -> None:
    settings = trained.resources.settings.model_copy(update={"service_max_depth": 3})  # fewer than the service takes
    stage = ServiceSandbox(trained.spec, tmp_path / "scratch", "0" * 64, settings, tmp_path / "log")
    stage.home.mkdir()
    stage.artifact.mkdir(parents=True)
    files = VerifiedFiles(Path(candidate.fitted.folder), candidate.digests)
    report = rehearse(stage, ModelSignature.from_json(files.read("signature.json")), load_golden(files), "0" * 64)
    assert not report.passed
    assert report.faults[0].startswith("the service ended before it was ready")
    assert "SLUICE_SERVICE_MAX_DEPTH" in report.faults[0]


@pytest.mark.slow
def test_the_service_ends_when_whoever_rehearses_fails_or_is_killed(
    trained: Trained, candidate: ExportedCandidate, tmp_path: Path
) -> None:
    store = LocalArtifactStore(tmp_path / "artifacts", trained.resources.artifacts.keys)
    manifest = manifest_of(trained.spec, candidate, trained.resources)
    digest = store.put(Path(candidate.fitted.folder), manifest, VERSION)
    stage = ServiceSandbox(trained.spec, tmp_path, digest, trained.resources.settings, tmp_path / "log")
    with pytest.raises(ZeroDivisionError), stage.service():
        _ = 1 / 0
    assert services_on(tmp_path) == []

    code = f"""
import sys, time
from pathlib import Path
from include.models import read_spec
from include.rehearsal import ServiceSandbox
from include.settings import Settings
stage = ServiceSandbox(read_spec(Path({str(trained.spec.folder / "spec.py")!r})), Path({str(tmp_path)!r}), {digest!r},
              Settings(service_workers=2), Path({str(tmp_path / "killed.log")!r}))
with stage.service() as service:
    print(service.process.pid, flush=True)
    time.sleep(600)
"""
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as rehearsing:
        assert rehearsing.stdout is not None
        main = psutil.Process(int(rehearsing.stdout.readline()))
        wait_until(lambda: len(main.children()) == 2, "both workers to run")
        everyone = [main, *main.children()]
        rehearsing.send_signal(signal.SIGKILL)
    _, alive = psutil.wait_procs(everyone, timeout=30)
    assert alive == []


def wait_until(condition: Callable[[], bool], what: str, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s in vain for {what}"
        time.sleep(0.05)
