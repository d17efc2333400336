"""`sluice serve`: the real service in the foreground, with its options, until Ctrl-C."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import httpx

from include.ports import any_free_port
from include.settings import REPOSITORY
from tests.builders import declare_model


def test_it_serves_until_ctrl_c_and_leaves_nothing_behind(database_url: str, tmp_path: Path) -> None:
    declare_model(tmp_path / "models")
    port = any_free_port()
    environment = os.environ | {
        "SLUICE_DATABASE_URL": database_url, "SLUICE_HOME": str(tmp_path / "home"), "PYTHONPATH": str(REPOSITORY),
        "SLUICE_MODELS_DIR": str(tmp_path / "models"),
    }  # fmt: skip
    with subprocess.Popen(
        [sys.executable, "-m", "include.cli", "serve", "--port", str(port), "--workers", "1"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=environment,
        text=True,
        start_new_session=True,
        # A shell that runs the tests in the background has them ignore SIGINT, which children inherit.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        assert process.stderr is not None
        said = []
        for line in process.stderr:
            said.append(line)
            if "listening on" in line:
                break
        address = re.search(r"listening on (http://127\.0\.0\.1:\d+) with 1 worker\(s\); .* 'parcels'", said[-1])
        assert address is not None, "the only declared model is that of POST /predict: " + "".join(said)
        client = httpx.Client(trust_env=False, transport=httpx.HTTPTransport(retries=5), timeout=60)
        assert client.get(f"http://127.0.0.1:{port}/health").is_success
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        said += process.stderr.readlines()
        assert process.wait(60) == 0
    assert "Traceback" not in "".join(said)


def test_a_setting_that_is_none_is_refused_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "include.cli", "serve", "--port", "99999"],
        env=os.environ
        | {
            "SLUICE_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none", "PYTHONPATH": str(REPOSITORY),
            "SLUICE_HOME": str(tmp_path / "home"), "SLUICE_MODELS_DIR": str(tmp_path / "models"),
        },
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 1
    assert "SLUICE_SERVICE_PORT: Input should be less than or equal to 65535; found '99999'" in done.stderr
    assert "Traceback" not in done.stderr
