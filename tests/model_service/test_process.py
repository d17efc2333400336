"""The service as it really runs: granian, workers, signals, a promotion under load."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import psutil

from include.signing import Keyring

SETOSA = [5.1, 3.5, 1.4, 0.2]
IN_A_ROW = 40


def ready(service: Any) -> bool:
    return service.ask("GET", "/ready")[0] == 200


def test_it_serves_says_where_and_stops_cleanly_when_told(harness: Any, run_service: Callable[..., Any]) -> None:
    harness.declare("iris")
    harness.champion("iris")
    service = run_service(workers=2)
    service.wait_until(lambda: ready(service))
    status, answer = service.ask("POST", "/predict", {"features": SETOSA})
    assert (status, answer["prediction"]["label"]) == (200, "setosa")
    status, problem = service.ask("POST", "/predict", {"features": ["x", 1, 1, 1]})
    assert (status, problem["errors"][0]["path"]) == (422, "$.features[0]")
    many = [SETOSA] * 10_000
    assert len(service.ask("POST", "/predict", {"features": many})[1]["predictions"]) == 10_000
    assert service.stop() == 0
    log = service.log.read_text()
    assert f"listening on http://127.0.0.1:{service.port}" in log
    assert "Traceback" not in log


def test_a_body_without_a_length_is_read_and_bounded(harness: Any, run_service: Callable[..., Any]) -> None:
    harness.declare("iris")
    harness.champion("iris")
    service = run_service()
    service.wait_until(lambda: ready(service))

    def ask_in_chunks(chunks: list[bytes]) -> int:
        connection = HTTPConnection("127.0.0.1", service.port, timeout=10)
        try:
            connection.request("POST", "/predict", iter(chunks), encode_chunked=True)
            return connection.getresponse().status
        finally:
            connection.close()

    body = json.dumps({"features": SETOSA}).encode()
    assert ask_in_chunks([body[:5], body[5:]]) == 200
    assert ask_in_chunks([b" " * 1024 * 1024] * 5) == 413


def test_told_to_stop_while_its_workers_start_it_need_not_kill_them(
    harness: Any, run_service: Callable[..., Any]
) -> None:
    harness.declare("iris")
    service = run_service(workers=2)
    service.wait_until(lambda: b"Spawning worker-1" in service.log.read_bytes())
    assert service.stop() == 0
    assert "Killing worker" not in service.log.read_text(), "what granian does when their grace is over"


def test_a_worker_that_ends_before_it_is_told_makes_no_failure_of_a_stop(
    harness: Any, run_service: Callable[..., Any]
) -> None:
    harness.declare("iris")
    service = run_service(workers=2)
    service.wait_until(lambda: service.ask("GET", "/health")[0] == 200)
    main = psutil.Process(service.process.pid)
    early = main.children()[0]
    main.suspend()
    early.kill()
    service.process.send_signal(signal.SIGTERM)
    main.resume()  # it learns of both at once
    assert service.process.wait(timeout=15) == 0


def test_workers_end_when_the_main_process_is_killed(harness: Any, run_service: Callable[..., Any]) -> None:
    harness.declare("iris")
    service = run_service(workers=2)
    service.wait_until(lambda: service.ask("GET", "/health")[0] == 200)
    workers = psutil.Process(service.process.pid).children()
    assert len(workers) == 2
    service.process.kill()
    service.process.wait()
    _, alive = psutil.wait_procs(workers, timeout=5)
    assert not alive


def test_a_port_that_is_taken_is_refused_with_the_setting_to_change(
    harness: Any, run_service: Callable[..., Any]
) -> None:
    harness.declare("iris")
    first = run_service()
    first.wait_until(lambda: first.ask("GET", "/health")[0] == 200)
    second = run_service(port=first.port)
    assert second.process.wait(timeout=20) == 1
    assert "Set SLUICE_SERVICE_PORT to a free port" in second.log.read_text()


def test_champions_change_under_load_for_every_worker_and_with_no_failed_request(
    harness: Any, run_service: Callable[..., Any]
) -> None:
    harness.declare("iris")
    digests = {
        each.version: each.artifact_digest for each in (harness.champion("iris"), harness.register("iris", seed=1))
    }
    service = run_service(workers=2)
    service.wait_until(lambda: ready(service))
    seen: list[tuple[int, int, str]] = []
    stopping = threading.Event()

    def ask_on_and_on() -> None:
        while not stopping.is_set():
            # A connection each, so that both workers are asked.
            status, answer = service.ask("POST", "/predict", {"features": SETOSA})
            seen.append((status, answer.get("version", 0), answer.get("artifact_digest", "")))
            time.sleep(0.002)

    clients = [threading.Thread(target=ask_on_and_on) for _ in range(2)]
    for client in clients:
        client.start()
    try:
        for turn in range(6):
            champion = 2 if turn % 2 == 0 else 1
            harness.promote("iris", champion)
            # A connection goes to either worker: were one left behind, not so many in a row would be of the champion.
            service.wait_until(lambda champion=champion: {each[1] for each in seen[-IN_A_ROW:]} == {champion})
            settled = len(seen)
            service.wait_until(lambda settled=settled: len(seen) >= settled + IN_A_ROW)
            assert {version for _, version, _ in seen[settled:]} == {champion}, "the former one never comes back"
    finally:
        stopping.set()
    for client in clients:
        client.join()
    assert len(seen) > 6 * IN_A_ROW
    assert {status for status, _, _ in seen} == {200}
    assert all(digests[version] == digest for _, version, digest in seen)


def test_a_version_signed_by_nobody_who_is_trusted_is_refused_and_the_old_one_goes_on(
    harness: Any, run_service: Callable[..., Any], tmp_path: Path
) -> None:
    harness.declare("iris")
    harness.champion("iris")
    service = run_service()
    service.wait_until(lambda: ready(service))
    forged = harness.register("iris", seed=1)
    folder = Path(harness.store.locate("iris", forged.version))
    stranger = Keyring(tmp_path / "stranger").signer()
    (folder / "manifest.sig").write_bytes(stranger.sign((folder / "manifest.json").read_bytes()))
    harness.promote("iris", forged.version)

    def told() -> str:
        return service.ask("GET", "/ready")[1]["models"]["iris"]["load_error"] or ""

    service.wait_until(lambda: "version 2 could not be loaded" in told())
    assert "trusted" in told()
    status, answer = service.ask("POST", "/predict", {"features": SETOSA})
    assert (status, answer["version"]) == (200, 1)
    assert service.ask("POST", "/v1/models/iris/versions/2/predict", {"features": SETOSA})[0] == 503


def test_the_service_loads_nothing_that_can_unpickle_or_train() -> None:
    code = "import sys, model_service.app, model_service.__main__; print(' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.split(".")[0] for name in done.stdout.split()}
    assert not loaded & {"sklearn", "pandas", "joblib", "airflow", "pyarrow", "great_expectations", "alembic", "scipy"}
