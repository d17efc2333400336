"""Requests to the service as a client sends them: predictions and a score, each compared with the expected value."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import text

from deploy.local_stack.errors import LocalStackError
from deploy.local_stack.polling import poll_until
from deploy.local_stack.stack import Stack
from deploy.local_stack.steps import Note, StepResult
from include.inference import load_golden
from include.registry import Ledger, open_artifact_store
from include.service_client import NO_ANSWER, ServiceClient, ServiceResponse, request_body, scores_of

LOAD_TIMEOUT_SECONDS = 60.0


@dataclass(slots=True)
class SmokeChecks:
    """Checks that the running service answers what was computed in training and in scoring."""

    stack: Stack

    def predict(self, model: str, note: Note) -> StepResult:
        """Request the prediction of a golden row of the champion, and compare it with the one of training."""
        promotion = Ledger(self.stack.warehouse).champion(model)
        version = promotion.to_version if promotion else 0
        registered = Ledger(self.stack.warehouse).version(model, version)
        artifacts = open_artifact_store(self.stack.settings)
        golden = load_golden(artifacts.open(model, version, registered.artifact_digest))[0]
        path = f"/v1/models/{model}/predict"
        note("waiting for the service to load the champion")
        # Each worker process loads a new champion separately: one may have it before another.
        answer = self._poll(
            lambda: self._send("POST", path, request_body(golden.features)),
            path,
            lambda body: body.get("version") == version,
        )
        prediction = answer["prediction"]
        found = scores_of(prediction)
        if found != golden.answer:
            raise LocalStackError(
                f"POST {path} with a golden row of version {version}: expected {golden.answer}; found {found}.",
                f"Retrain '{model}', and report this with the log: training and service must give the same number.",
                self.stack.settings.log_dir / "service.log",
            )
        label = prediction.get("label", prediction.get("value"))
        return StepResult(f"version {version} predicted '{label}' ({_formatted(prediction)}), the same as in training")

    def look_up(self, model: str, note: Note) -> StepResult:
        """Request the newest score of an entity, and compare it with the score table."""
        query = text(f'SELECT * FROM scores."{model}_latest" ORDER BY partition_start DESC, entity_key LIMIT 1')  # noqa: S608
        with self.stack.warehouse.connect() as connection:
            row = dict(connection.execute(query).mappings().one())
        path = f"/v1/models/{model}/scores/{row['entity_key']}"
        note(f"GET {path}")
        answer = self._poll(lambda: self._send("GET", path), path, lambda _: True)
        prediction = answer["prediction"]
        stored = [value for name, value in row.items() if name.startswith("p_") or name == "value"]
        found = scores_of(prediction)
        if sorted(found) != sorted(stored):
            raise LocalStackError(
                f"GET {path}: expected {stored}, as in the score table; found {found}.",
                "Report this with the log: the service must answer what the score table contains.",
                self.stack.settings.log_dir / "service.log",
            )
        label = prediction.get("label", "")
        return StepResult(f"{row['entity_key']}: '{label}' ({_formatted(prediction)}), the same as in the score table")

    def _send(self, method: str, path: str, body: bytes | None = None) -> ServiceResponse | None:
        self.stack.check_processes()
        try:
            return ServiceClient(self.stack.service_address, timeout=10).send(method, path, body)
        except NO_ANSWER:
            return None

    def _poll(
        self,
        send: Callable[[], ServiceResponse | None],
        path: str,
        is_expected: Callable[[dict[str, Any]], bool],
    ) -> dict[str, Any]:
        last: list[str] = ["no answer"]

        def attempt() -> dict[str, Any] | None:
            answer = send()
            if answer is None:
                return None
            last[0] = answer.text(400)
            body: dict[str, Any] = answer.document if answer.ok else {}
            return body if answer.ok and is_expected(body) else None

        return poll_until(
            attempt,
            self.stack.stop,
            timeout=LOAD_TIMEOUT_SECONDS,
            on_timeout=lambda: LocalStackError(
                f"expected the champion to answer {path} within {LOAD_TIMEOUT_SECONDS:.0f} s; last answer: {last[0]}",
                f"See {self.stack.service_address}/ready for what is loaded and what failed to load, and read the log.",
                self.stack.settings.log_dir / "service.log",
            ),
        )


def _formatted(prediction: dict[str, Any]) -> str:
    if "probabilities" not in prediction:
        return f"{prediction['value']:.6g}"
    return ", ".join(f"{label} {probability:.3f}" for label, probability in prediction["probabilities"].items())
