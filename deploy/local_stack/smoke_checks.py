"""What a client asks the service: live predictions and a score, each held against what must come."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx
from sqlalchemy import text

from deploy.local_stack.polling import poll_until
from deploy.local_stack.stack import Note, Stack
from deploy.local_stack.steps import Outcome
from include.errors import LocalStackError
from include.registry import Ledger

LOAD_SECONDS = 60.0


@dataclass(slots=True)
class Calls:
    """Requests to the service, as a client would send them."""

    stack: Stack

    def predict(self, model: str, note: Note) -> Outcome:
        """Ask for the prediction of a golden row of the champion; it must be the answer given at training."""
        promotion = Ledger(self.stack.warehouse).champion(model)
        version = promotion.to_version if promotion else 0
        golden = json.loads(
            (self.stack.settings.artifacts_dir / model / str(version) / "golden.json").read_text(encoding="utf-8")
        )[0]
        path = f"/v1/models/{model}/predict"
        note("waiting for the service to load the champion")
        # Each worker loads for itself: a fresh champion may have reached one and not yet the next.
        answer = self._ask(
            lambda: self._send("POST", path, json={"features": golden["features"]}),
            path,
            lambda body: body.get("version") == version,
        )
        prediction = answer["prediction"]
        found = list(prediction["probabilities"].values()) if "probabilities" in prediction else [prediction["value"]]
        if found != list(golden["answer"]):
            raise LocalStackError(
                f"POST {path} answered {found} to a golden row of version {version}; expected {golden['answer']}.",
                f"Retrain '{model}', and report this with the log: batch and service must give the same number.",
                self.stack.settings.log_dir / "service.log",
            )
        told = prediction.get("label", prediction.get("value"))
        return Outcome(f"version {version} answered '{told}' ({_shares(prediction)}), as at training")

    def look_up(self, model: str, note: Note) -> Outcome:
        """Ask for the newest score of a scored entity; it must be what the score table holds."""
        query = text(f'SELECT * FROM scores."{model}_latest" ORDER BY partition_start DESC, entity_key LIMIT 1')  # noqa: S608
        with self.stack.warehouse.connect() as connection:
            row = dict(connection.execute(query).mappings().one())
        path = f"/v1/models/{model}/scores/{row['entity_key']}"
        note(f"GET {path}")
        answer = self._ask(lambda: self._send("GET", path), path, lambda _: True)
        prediction = answer["prediction"]
        stored = [value for name, value in row.items() if name.startswith("p_") or name == "value"]
        found = list(prediction["probabilities"].values()) if "probabilities" in prediction else [prediction["value"]]
        if sorted(found) != sorted(stored):
            raise LocalStackError(
                f"GET {path} answered {found}; the score table holds {stored}.",
                "Report this with the log: the service must answer what analysts read.",
                self.stack.settings.log_dir / "service.log",
            )
        return Outcome(f"{row['entity_key']}: '{prediction.get('label', '')}' ({_shares(prediction)}), as in the table")

    def _send(self, method: str, path: str, **arguments: Any) -> httpx.Response | None:
        self.stack.check_processes()
        try:
            return httpx.request(method, self.stack.service_address + path, timeout=10, trust_env=False, **arguments)
        except httpx.TransportError:
            return None

    def _ask(
        self,
        send: Callable[[], httpx.Response | None],
        path: str,
        enough: Callable[[dict[str, Any]], bool],
    ) -> dict[str, Any]:
        last: list[str] = ["no answer"]

        def look() -> dict[str, Any] | None:
            answer = send()
            if answer is None:
                return None
            last[0] = f"{answer.status_code} {answer.text[:400]}"
            body: dict[str, Any] = answer.json() if answer.is_success else {}
            return body if answer.is_success and enough(body) else None

        return poll_until(
            look,
            self.stack.stop,
            seconds=LOAD_SECONDS,
            otherwise=lambda: LocalStackError(
                f"expected an answer of the champion to {path} within {LOAD_SECONDS:.0f} s; last found: {last[0]}",
                f"{self.stack.service_address}/ready says what is loaded and what was refused; read the log.",
                self.stack.settings.log_dir / "service.log",
            ),
        )


def _shares(prediction: dict[str, Any]) -> str:
    if "probabilities" not in prediction:
        return f"{prediction['value']:.6g}"
    return ", ".join(f"{label} {share:.3f}" for label, share in prediction["probabilities"].items())
