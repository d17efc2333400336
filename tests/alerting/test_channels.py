"""What each kind of channel is sent: a signed webhook, PagerDuty's events, Alertmanager's alerts."""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from include.alerting import formatting
from include.alerting.channels import ALERTMANAGER_KEEPS, send
from include.records import AlertMessage, Incident

NOW = datetime(2026, 3, 1, 5, tzinfo=UTC)
INCIDENT = Incident(
    id=7,
    key="failed_score/iris",
    kind="failed_score",
    model="iris",
    cause="",
    severity="page",
    summary="score_iris.publish failed: größer",
    impact="version 3 answers",
    next_step="Free some space.",
    url="https://airflow.example/log",
    subjects=("2026-02-28T00:00Z",),
    channels=(),
    occurrences=1,
    opened_at=NOW,
    last_seen_at=NOW,
    acknowledged_at=None,
    acknowledged_by=None,
    resolved_at=None,
    resolution=None,
)
KEY = f"sluice-{hashlib.sha256(b'failed_score/iris').hexdigest()[:24]}"
ENDED = INCIDENT.model_copy(update={"resolved_at": NOW + timedelta(hours=1), "resolution": "It succeeded."})


def message(action: str = "trigger", incident: Incident = INCIDENT) -> AlertMessage:
    return AlertMessage(
        id=1,
        incident_id=incident.id,
        reference="incident-7-1",
        channel="ops",
        action=action,  # type: ignore[arg-type]  # one of them
        title=formatting.title(incident),
        body=formatting.body(incident, "https://airflow.example"),
        created_at=NOW,
        attempts=0,
        next_attempt_at=NOW,
        last_error=None,
        delivered_at=None,
        abandoned_at=None,
    )


class Receiver:
    """An HTTP server that keeps what it is sent."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        self.status = 202
        receiver = self

        class Taker(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.requests.append((self.path, dict(self.headers), body))
                self.send_response(receiver.status)
                self.end_headers()

            def log_message(self, *args: object) -> None:
                """Keep the test's output clean."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Taker)
        self.at = f"127.0.0.1:{self.server.server_port}"

    def only(self) -> tuple[str, dict[str, str], Any]:
        ((path, headers, body),) = self.requests
        return path, headers, json.loads(body)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    opened = Receiver()
    threading.Thread(target=opened.server.serve_forever, daemon=True).start()
    yield opened
    opened.server.shutdown()
    opened.server.server_close()


def test_a_webhook_is_signed_with_the_secret_of_its_address(receiver: Receiver) -> None:
    assert send(f"webhook+http://:s%2Fcret@{receiver.at}/hook?team=a", message(), INCIDENT) is None
    path, headers, document = receiver.only()
    moment, _, mac = headers["Sluice-Signature"].removeprefix("t=").partition(",v1=")
    signed = f"{moment}.".encode() + receiver.requests[0][2]
    assert mac == hmac.new(b"s/cret", signed, hashlib.sha256).hexdigest()
    assert path == "/hook?team=a"
    assert headers["Idempotency-Key"] == document["id"] == "incident-7-1"
    assert {name: document[name] for name in ("action", "severity", "kind", "model", "incident", "subjects")} == {
        "action": "trigger",
        "severity": "page",
        "kind": "failed_score",
        "model": "iris",
        "incident": 7,
        "subjects": ["2026-02-28T00:00Z"],
    }
    assert document["summary"] == INCIDENT.summary
    assert document["key"] == KEY


def test_a_webhook_without_secret_is_not_signed(receiver: Receiver) -> None:
    assert send(f"webhook+http://{receiver.at}", message(), INCIDENT) is None
    assert "Sluice-Signature" not in receiver.only()[1]


@pytest.mark.parametrize("severity", ["page", "ticket"])
def test_pagerduty_triggers_and_resolves_with_one_key(receiver: Receiver, severity: str) -> None:
    address = f"pagerduty+http://K3Y@{receiver.at}/v2/enqueue"
    incident = INCIDENT.model_copy(update={"severity": severity})
    assert send(address, message(), incident) is None
    assert send(address, message("update"), incident) is None
    assert send(address, message("resolve", ENDED), ENDED) is None
    triggered, repeated, resolved = (json.loads(body) for _, _, body in receiver.requests)
    assert triggered["routing_key"] == "K3Y"
    assert [each["event_action"] for each in (triggered, repeated, resolved)] == ["trigger", "trigger", "resolve"]
    assert {each["dedup_key"] for each in (triggered, repeated, resolved)} == {KEY}
    assert triggered["payload"]["severity"] == {"page": "critical", "ticket": "warning"}[severity]
    assert "payload" not in resolved


def test_alertmanager_is_told_of_the_end_by_the_same_labels(receiver: Receiver) -> None:
    address = f"alertmanager+http://{receiver.at}/prefix"
    assert send(address, message(), INCIDENT) is None
    assert send(address, message("resolve", ENDED), ENDED) is None
    (path, _, first), (_, _, last) = receiver.requests
    (begun,), (ended,) = json.loads(first), json.loads(last)
    assert path == "/prefix/api/v2/alerts"
    assert begun["labels"] == ended["labels"]
    assert begun["labels"] == {"alertname": "FailedScore", "severity": "page", "model": "iris", "incident": KEY}
    assert datetime.fromisoformat(begun["endsAt"]) == NOW + ALERTMANAGER_KEEPS
    assert datetime.fromisoformat(ended["endsAt"]) == ENDED.resolved_at


@pytest.mark.parametrize("scheme", ["webhook", "pagerduty", "alertmanager"])
def test_a_channel_that_refuses_or_is_away_says_so_without_its_secret(receiver: Receiver, scheme: str) -> None:
    receiver.status = 500
    assert send(f"{scheme}+http://k3y:k3y@{receiver.at}/k3y", message(), INCIDENT) == "not delivered: status 500"
    why = send(f"{scheme}+http://k3y:k3y@127.0.0.1:1/k3y", message(), INCIDENT)
    assert why == "not delivered: ConnectionRefusedError"


@pytest.mark.parametrize("address", ["webhook+https://[", "webhook+http://127.0.0.1:x/", "pagerduty+http://"])
def test_an_address_that_is_none_is_an_error_of_its_channel(address: str) -> None:
    assert "not delivered" in str(send(address, message(), INCIDENT))
