"""The REST client, spoken to by a real HTTP server that answers as Airflow 3.3 does."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from deploy.local_stack.airflow_api import AirflowApi, TaskState
from deploy.local_stack.dag_runs import describe
from deploy.local_stack.errors import LocalStackError

PAST, FUTURE = "2020-01-01T00:00:00Z", "2999-01-01T00:00:00Z"
RUN = "/api/v2/dags/retrain_iris/dagRuns"
TASKS = [
    {"task_id": "promote", "state": None, "try_number": 0, "duration": None, "start_date": None},
    {
        "task_id": "train",
        "state": "up_for_retry",
        "try_number": 1,
        "duration": 2.0,
        "start_date": "2026-01-01T00:00:02Z",
    },
    {"task_id": "validate", "state": "success", "try_number": 1, "duration": 1.0, "start_date": "2026-01-01T00:00:01Z"},
]


class Airflow(ThreadingHTTPServer):
    """Answers from a table; a token is good for as many requests as it is told."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.seen: list[tuple[str, str, Any]] = []
        self.tokens = 0
        self.expired = False
        self.answers: dict[tuple[str, str], tuple[int, Any]] = {
            ("GET", "/api/v2/monitor/health"): (
                200,
                {"scheduler": {"status": "healthy"}, "triggerer": {"status": None}},
            ),
            ("GET", "/api/v2/dags"): (200, {"dags": [{"dag_id": "retrain_iris", "is_paused": False}]}),
            ("GET", "/api/v2/dags/retrain_iris"): (200, {"next_dagrun_run_after": PAST}),
            ("GET", "/api/v2/dags/score_iris"): (200, {"next_dagrun_run_after": FUTURE}),
            ("GET", "/api/v2/dags/operate_model"): (200, {"next_dagrun_run_after": None}),
            ("POST", RUN): (200, {"dag_run_id": "manual__1"}),
            ("GET", RUN): (200, {"dag_runs": [{"dag_run_id": "manual__1", "conf": {"partition": "2026-01-01"}}]}),
            ("GET", f"{RUN}/manual__1"): (200, {"state": "running"}),
            ("GET", f"{RUN}/manual__1/taskInstances"): (200, {"task_instances": TASKS}),
            ("GET", "/api/v2/pools"): (200, {"pools": [{"name": "default_pool", "slots": 128}]}),
            ("POST", "/api/v2/pools"): (201, {}),
            ("PATCH", "/api/v2/pools/mine"): (200, {}),
        }

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Airflow

    def do_GET(self) -> None:
        self.answer()

    def do_POST(self) -> None:
        self.answer()

    def do_PATCH(self) -> None:
        self.answer()

    def answer(self) -> None:
        parts = urlsplit(self.path)
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length else parse_qs(parts.query)
        self.server.seen.append((self.command, parts.path, body))
        if parts.path == "/auth/token":
            right = body == {"username": "admin", "password": "right"}
            self.server.tokens += right
            self.server.expired = False
            self.reply(201 if right else 401, {"access_token": f"token-{self.server.tokens}"})
        elif parts.path != "/api/v2/monitor/health" and (
            self.server.expired or self.headers["Authorization"] != f"Bearer token-{self.server.tokens}"
        ):
            self.reply(401, {"detail": "Not authenticated"})
        else:
            self.reply(*self.server.answers.get((self.command, parts.path), (404, {"detail": "not found"})))

    def reply(self, status: int, document: Any) -> None:
        content = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the parent's name for it
        pass


@pytest.fixture
def airflow() -> Iterator[Airflow]:
    with Airflow() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def api(airflow: Airflow, monkeypatch: pytest.MonkeyPatch) -> AirflowApi:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")  # a proxy for the outside world is not for loopback
    return AirflowApi(airflow.address, "admin", "right")


def test_health_is_told_part_by_part_without_a_login(api: AirflowApi, airflow: Airflow) -> None:
    assert api.health() == {"scheduler": "healthy", "triggerer": None}
    assert airflow.tokens == 0


def test_an_airflow_that_does_not_answer_yet_has_no_healthy_part() -> None:
    assert AirflowApi("http://127.0.0.1:9", "admin", "right").health() == {}


def test_a_run_by_hand_has_no_logical_date_and_carries_its_conf(api: AirflowApi, airflow: Airflow) -> None:
    assert api.trigger("retrain_iris", {"partition": "2026-01-01"}, "why") == "manual__1"
    sent = next(body for method, path, body in airflow.seen if (method, path) == ("POST", RUN))
    assert sent == {"logical_date": None, "conf": {"partition": "2026-01-01"}, "note": "why"}


def test_it_logs_in_once_and_again_when_the_token_has_run_out(api: AirflowApi, airflow: Airflow) -> None:
    api.dags()
    api.dags()
    assert airflow.tokens == 1
    airflow.expired = True
    assert api.dags() == {"retrain_iris": False}
    assert airflow.tokens == 2


def test_runs_under_way_are_asked_for_by_state(api: AirflowApi, airflow: Airflow) -> None:
    assert api.active_runs("retrain_iris") == {"manual__1": {"partition": "2026-01-01"}}
    assert next(body for method, path, body in airflow.seen if path == RUN)["state"] == ["queued", "running"]


def test_a_schedule_is_due_when_its_next_run_lies_in_the_past(api: AirflowApi) -> None:
    assert [api.is_due(dag) for dag in ("retrain_iris", "score_iris", "operate_model")] == [True, False, False]


def test_tasks_come_in_the_order_in_which_they_started_and_are_told_in_one_line(api: AirflowApi) -> None:
    tasks = api.tasks("retrain_iris", "manual__1")
    assert [task.task_id for task in tasks] == ["validate", "train", "promote"]
    assert describe(tasks) == "1/3 tasks, train up for retry (try 1)"
    assert describe([TaskState("train", "running", 2, 1.0)]) == "0/1 tasks, train running (try 2)"
    assert api.run_state("retrain_iris", "manual__1") == "running"


def test_a_refused_call_tells_the_call_and_the_answer(api: AirflowApi) -> None:
    with pytest.raises(LocalStackError, match=r"answered 404 to GET /api/v2/dags/nothing/dagRuns/x.*not found"):
        api.run_state("nothing", "x")


def test_a_wrong_password_suggests_that_another_airflow_answers(airflow: Airflow) -> None:
    with pytest.raises(LocalStackError, match="SLUICE_AIRFLOW_PORT"):
        AirflowApi(airflow.address, "admin", "wrong").dags()


def test_a_pool_is_made_once_and_then_only_resized(airflow: Airflow, api: AirflowApi) -> None:
    def asked() -> list[str]:
        return [method for method, path, _ in airflow.seen if path.startswith("/api/v2/pools") and method != "GET"]

    api.set_pool("mine", 8, "what for")
    airflow.answers["GET", "/api/v2/pools"] = (200, {"pools": [{"name": "mine", "slots": 8}]})
    api.set_pool("mine", 8, "what for")
    assert asked() == ["POST"]
    api.set_pool("mine", 4, "what for")
    assert asked() == ["POST", "PATCH"]


def test_the_instances_of_a_mapped_task_come_in_the_order_of_their_index(airflow: Airflow, api: AirflowApi) -> None:
    shared = {"task_id": "score", "state": "success", "try_number": 1}
    airflow.answers["GET", f"{RUN}/manual__1/taskInstances"] = (200, {"task_instances": [
        *TASKS,
        {**shared, "map_index": 1, "hostname": "worker-2", "duration": 0.5},
        {**shared, "map_index": 0, "hostname": "worker-1", "duration": 0.7},
    ]})  # fmt: skip
    assert api.mapped_tasks("retrain_iris", "manual__1", "score") == [
        (0, "success", 1, "worker-1", 0.7),
        (1, "success", 1, "worker-2", 0.5),
    ]
