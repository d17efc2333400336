"""A client of Airflow's REST API, with the calls that `make run` needs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple

import httpx

from deploy.local_stack.errors import LocalStackError

ACTIVE_STATES = ("queued", "running")
MAX_RETRIES = 3
SEE_LOG = "Read api-server.log in the log folder, and run again."


@dataclass(frozen=True, slots=True)
class TaskState:
    """One task of a run: its state, its try, and its seconds so far."""

    task_id: str
    state: str | None
    try_number: int
    seconds: float | None


class MappedTask(NamedTuple):
    """One instance of a mapped task: its index, state and try, the worker that ran it, and its seconds."""

    map_index: int
    state: str | None
    try_number: int
    worker: str | None
    seconds: float | None


@dataclass(slots=True)
class AirflowApi:
    """A client of Airflow's REST API, logged in as one user.

    Parameters
    ----------
    address : str
        Such as ``http://127.0.0.1:8080``.
    user, password : str
        Of Airflow's simple auth manager.
    """

    address: str
    user: str
    password: str
    _client: httpx.Client = field(init=False)
    _token: str | None = None

    def __post_init__(self) -> None:
        # trust_env: proxies in the environment must not be used for loopback.
        self._client = httpx.Client(base_url=self.address, timeout=30, trust_env=False)

    def health(self) -> dict[str, str | None]:
        """Return each part's status; empty while the server does not answer."""
        try:
            answer = self._client.get("/api/v2/monitor/health", timeout=5)
        except httpx.TransportError:
            return {}
        if answer.status_code != httpx.codes.OK:
            return {}
        return {part: status.get("status") for part, status in answer.json().items() if isinstance(status, dict)}

    def dags(self) -> dict[str, bool]:
        """Return the DAGs that Airflow has read, each with whether it is paused."""
        found = self._call("GET", "/api/v2/dags", params={"limit": 200})["dags"]
        return {dag["dag_id"]: bool(dag["is_paused"]) for dag in found}

    def import_errors(self) -> dict[str, str]:
        """Return the DAG files that cannot be imported, each with its error."""
        found = self._call("GET", "/api/v2/importErrors")["import_errors"]
        return {error["filename"]: error["stack_trace"] for error in found}

    def unpause(self, dag_id: str) -> None:
        """Let the scheduler run a DAG."""
        self._call("PATCH", f"/api/v2/dags/{dag_id}", json={"is_paused": False})

    def is_due(self, dag_id: str) -> bool:
        """Return whether the schedule has a run that is due and does not exist yet."""
        due = self._call("GET", f"/api/v2/dags/{dag_id}").get("next_dagrun_run_after")
        return due is not None and datetime.fromisoformat(due) <= datetime.now(UTC)

    def set_pool(self, name: str, slots: int, note: str) -> None:
        """Create a pool of `slots` slots, or resize it."""
        body = {"name": name, "slots": slots, "description": note, "include_deferred": False}
        pools = self._call("GET", "/api/v2/pools", params={"limit": 100})["pools"]
        known = {pool["name"]: pool["slots"] for pool in pools}
        if name not in known:
            self._call("POST", "/api/v2/pools", json=body)
        elif known[name] != slots:
            self._call("PATCH", f"/api/v2/pools/{name}", params={"update_mask": "slots"}, json=body)

    def trigger(self, dag_id: str, conf: Mapping[str, Any], note: str) -> str:
        """Trigger a run, and return its id."""
        body = {"logical_date": None, "conf": dict(conf), "note": note}
        return str(self._call("POST", f"/api/v2/dags/{dag_id}/dagRuns", json=body)["dag_run_id"])

    def active_runs(self, dag_id: str) -> dict[str, dict[str, Any]]:
        """Return the runs of a DAG that have not ended, each with its conf."""
        parameters = {"state": list(ACTIVE_STATES), "limit": 100}
        found = self._call("GET", f"/api/v2/dags/{dag_id}/dagRuns", params=parameters)["dag_runs"]
        return {run["dag_run_id"]: run.get("conf") or {} for run in found}

    def run_state(self, dag_id: str, run_id: str) -> str:
        """Return a run's state: queued, running, success or failed."""
        return str(self._call("GET", f"/api/v2/dags/{dag_id}/dagRuns/{run_id}")["state"])

    def tasks(self, dag_id: str, run_id: str) -> list[TaskState]:
        """Return a run's tasks, in the order in which they started; those that have not, last."""
        found = self._call("GET", f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances")["task_instances"]
        found.sort(key=lambda task: (task["start_date"] is None, task["start_date"] or "", task["task_id"]))
        return [TaskState(task["task_id"], task["state"], task["try_number"], task["duration"]) for task in found]

    def mapped_tasks(self, dag_id: str, run_id: str, task_id: str) -> list[MappedTask]:
        """Return the instances of a mapped task as Airflow recorded them, ordered by their index."""
        path = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances"
        found = self._call("GET", path, params={"task_id": task_id, "limit": 100})["task_instances"]
        return sorted(
            MappedTask(each["map_index"], each["state"], each["try_number"], each["hostname"], each["duration"])
            for each in found
            if each["task_id"] == task_id
        )

    def return_value(self, dag_id: str, run_id: str, task_id: str, index: int = -1) -> Any:
        """Return what a task returned, as JSON types."""
        path = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries/return_value"
        value = self._call("GET", path, params={"map_index": index})["value"]
        return json.loads(value) if isinstance(value, str) else value  # as stored in Airflow's database

    def get(self, path: str, **parameters: Any) -> dict[str, Any]:
        """Return the answer to any other GET request."""
        return self._call("GET", path, params=parameters)

    def _call(self, method: str, path: str, **arguments: Any) -> dict[str, Any]:
        if self._token is None:
            self._log_in()
        answer = self._send(method, path, **arguments)
        if answer.status_code == httpx.codes.UNAUTHORIZED:  # tokens expire after a day
            self._log_in()
            answer = self._send(method, path, **arguments)
        if answer.is_error:
            raise LocalStackError(
                f"Airflow answered {answer.status_code} to {method} {path}: {answer.text[:500]}",
                SEE_LOG,
            )
        body: dict[str, Any] = answer.json()
        return body

    def _send(self, method: str, path: str, *, retries: int = MAX_RETRIES, **arguments: Any) -> httpx.Response:
        # A GET can be repeated: on an overloaded machine Airflow may be slow.
        headers = {"Authorization": f"Bearer {self._token}"}
        try:
            return self._client.request(method, path, headers=headers, **arguments)
        except httpx.TransportError as error:
            if isinstance(error, httpx.TimeoutException) and method == "GET" and retries > 0:
                return self._send(method, path, retries=retries - 1, **arguments)
            raise LocalStackError(
                f"Airflow at {self.address} does not answer {method} {path}: {error}",
                SEE_LOG,
            ) from error

    def _log_in(self) -> None:
        answer = self._send("POST", "/auth/token", json={"username": self.user, "password": self.password})
        if answer.is_error:
            raise LocalStackError(
                f"Airflow refused to log '{self.user}' in: {answer.status_code} {answer.text[:300]}",
                "Another Airflow may use this port: stop it, or set SLUICE_AIRFLOW_PORT.",
            )
        self._token = answer.json()["access_token"]
