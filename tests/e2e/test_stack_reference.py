"""Every request of docs/reference/service.md is answered as the page shows, by the service of a stack."""

from __future__ import annotations

import json
import re
import subprocess
from typing import Final

import pytest

from tests.e2e.conftest import REPOSITORY, RunningStack, wait_for

pytestmark = pytest.mark.slow

PAGE: Final = (REPOSITORY / "docs" / "reference" / "service.md").read_text(encoding="utf-8")
EXAMPLES: Final = re.findall(r"```console\n\$ (curl .*?)```[^`]*```(json|text)\n(.*?)```", PAGE, re.DOTALL)
# Of the page's own stack: keys that have scores, a job that was read, and one that was deleted.
FLIGHT, FLOWER = "flight_delay/scores/9E2900-JFK-20261122T1550", "iris/scores/iris-054"
FINISHED, DELETED = "7685ebe5-3a53-4175-8e33-2326ecbd2793", "a9c14721-1d63-4aed-820a-9f62d3ac95aa"


def test_every_example_is_read() -> None:
    assert len(EXAMPLES) == PAGE.count("$ curl ")


def test_every_request_of_the_reference_is_answered_as_it_shows(stack: RunningStack) -> None:
    ((key,),) = stack.sql("SELECT entity_key FROM scores.flight_delay ORDER BY partition_start DESC LIMIT 1")
    rows = {"features": [[5.1, 3.5, 1.4, 0.2], [6.7, 3.0, 5.2, 2.3]]}
    jobs = [stack.service.post("/v1/models/iris/predict_async", json=rows).json()["id"] for _ in range(2)]
    for job in jobs:
        wait_for(lambda job=job: stack.service.get(f"/v1/jobs/{job}").json()["state"] == "done", 60, "a job")
    ours = {
        "http://127.0.0.1:8090": str(stack.service.base_url).rstrip("/"),
        **dict.fromkeys((FLIGHT, FLOWER), f"flight_delay/scores/{key}"),  # the stack has no scores of flowers
        FINISHED: jobs[0],
        DELETED: jobs[1],
    }
    different = []
    for command, kind, shown in EXAMPLES:
        for theirs, of_this_stack in ours.items():
            command = command.replace(theirs, of_this_stack)
        status, body = asked(command)
        if kind == "text":
            if (status, bool(body)) != (200, True):
                different.append((command, status, body))
            continue
        expected, answer = json.loads(shown), json.loads(body)
        if status not in (expected.get("status"), 200, 202) or list(answer) != list(expected):
            different.append((command, status, list(answer), list(expected)))
    assert different == []


def asked(command: str) -> tuple[int, str]:
    """Run a ``curl`` command as a reader does; return the status and the body of the response."""
    done = subprocess.run(
        ["bash", "-c", f"{command.strip()} -s -w '\n%{{http_code}}'"], capture_output=True, text=True, check=True
    )
    body, _, status = done.stdout.rpartition("\n")
    return int(status), body
