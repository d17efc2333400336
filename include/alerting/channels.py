"""Delivery of a message to the address of a channel. Addresses hold secrets and are never logged.

An address is an Apprise URL, or begins with one of

- ``webhook+https://`` or ``webhook+http://``: the message as JSON, signed with the password of the address by
  HMAC-SHA-256: ``webhook+https://:SECRET@host/path``.
- ``pagerduty+https://KEY@events.pagerduty.com/v2/enqueue``: events of PagerDuty's API, version 2, which other services
  take, too. The end of an incident resolves what its begin has triggered.
- ``alertmanager+http://host:9093``: Alertmanager's API, version 2. It then groups, routes, silences and repeats.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final
from urllib.parse import SplitResult, unquote, urlsplit

from include.records import AlertMessage, Incident
from include.service_client import NO_ANSWER, exchange

NO_ADDRESS: Final = "no address: map the channel in SLUICE_ALERT_CHANNELS"
BAD_ADDRESS: Final = "the address cannot be parsed: check the channel in SLUICE_ALERT_CHANNELS"
REFUSED: Final = "not delivered: Apprise's log has the error"
SIGNATURE: Final = "Sluice-Signature"
TIMEOUT_SECONDS: Final = 10.0
ALERTMANAGER_KEEPS: Final = timedelta(days=7)  # an alert that is not resolved by then is forgotten there

_PAGERDUTY_ACTIONS: Final = {"trigger": "trigger", "update": "trigger", "resolve": "resolve"}
_PAGERDUTY_SEVERITIES: Final = {"page": "critical", "ticket": "warning", "note": "info"}


def send(address: str | None, message: AlertMessage, incident: Incident) -> str | None:
    """Send a message to an address. It raises nothing: a broken channel must not hide the message from the others.

    Returns
    -------
    str or None
        The reason why it was not delivered; None when it was.
    """
    if not address:
        return NO_ADDRESS
    scheme, plus, rest = address.partition("+")
    deliver = _DELIVERERS.get(scheme) if plus and rest.startswith(("http://", "https://")) else None
    # The text of an error may contain the address, which is secret.
    try:
        return _apprise(address, message) if deliver is None else deliver(urlsplit(rest), message, incident)
    except (*NO_ANSWER, ValueError) as error:
        return f"not delivered: {type(error).__name__}"
    except Exception as error:  # noqa: BLE001 - as said above
        return f"{type(error).__name__} while sending"


def payload(message: AlertMessage, incident: Incident) -> dict[str, Any]:
    """Return the JSON of the generic webhook. ``id`` is the same when a message is sent again."""
    shown = incident.model_dump(mode="json", exclude={"id", "channels", "cause", "key"})
    return {
        "id": message.reference,
        "incident": incident.id,
        "key": dedup_key(incident),
        "action": message.action,
        "title": message.title,
        "text": message.body,
        **shown,
    }


def dedup_key(incident: Incident) -> str:
    """Return what all messages of an incident have in common, and no other open incident has.

    It is made of the key, not of the id: an incident that is told while the database cannot be reached has no id yet.
    """
    return f"sluice-{hashlib.sha256(incident.key.encode()).hexdigest()[:24]}"


def signature(secret: str, timestamp: int, body: bytes) -> str:
    """Return the value of the header `SIGNATURE`: time, and HMAC-SHA-256 of the time, a dot, and the body."""
    digest = hmac.new(secret.encode(), f"{timestamp}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={timestamp},v1={digest}"


def _webhook(url: SplitResult, message: AlertMessage, incident: Incident) -> str | None:
    content = json.dumps(payload(message, incident), ensure_ascii=False).encode()
    headers = {"Idempotency-Key": message.reference}
    if url.password:
        headers[SIGNATURE] = signature(unquote(url.password), int(time.time()), content)
    return _post(url, content, headers)


def _pagerduty(url: SplitResult, message: AlertMessage, incident: Incident) -> str | None:
    event: dict[str, Any] = {
        "routing_key": unquote(url.username or ""),
        "event_action": _PAGERDUTY_ACTIONS[message.action],
        "dedup_key": dedup_key(incident),
    }
    if message.action != "resolve":
        event["payload"] = {
            "summary": f"{message.title}: {incident.summary}"[:1024],
            "source": "sluice",
            "severity": _PAGERDUTY_SEVERITIES[incident.severity],
            "component": incident.model or "all models",
            "class": incident.kind,
            "custom_details": payload(message, incident),
        }
        if incident.url:
            event["links"] = [{"href": incident.url, "text": "Log"}]
    return _post(url, json.dumps(event).encode())


def _alertmanager(url: SplitResult, message: AlertMessage, incident: Incident) -> str | None:
    ends = incident.resolved_at or incident.last_seen_at + ALERTMANAGER_KEEPS
    alert = {
        "labels": {
            "alertname": "".join(word.capitalize() for word in incident.kind.split("_")),
            "severity": incident.severity,
            "model": incident.model or "",
            "incident": dedup_key(incident),
        },
        "annotations": {
            "summary": incident.summary[:1024],
            "impact": incident.impact,
            "next_step": incident.next_step,
            "title": message.title,
        },
        "startsAt": incident.opened_at.isoformat(),
        "endsAt": ends.isoformat(),
        **({"generatorURL": incident.url} if incident.url else {}),
    }
    base = url.path.rstrip("/")
    return _post(url._replace(path=f"{base}/api/v2/alerts"), json.dumps([alert]).encode())


def _post(url: SplitResult, content: bytes, headers: dict[str, str] | None = None) -> str | None:
    target = (url.path or "/") + (f"?{url.query}" if url.query else "")
    headers = {"Content-Type": "application/json", **(headers or {})}
    response = exchange("POST", url, target, content, headers, timeout=TIMEOUT_SECONDS, max_bytes=1024)
    return None if response.ok else f"not delivered: status {response.status}"


def _apprise(address: str, message: AlertMessage) -> str | None:
    # Imported here: importing Apprise takes half a second, and few runs fail.
    import apprise

    messenger = apprise.Apprise()
    if not messenger.add(address):
        return BAD_ADDRESS
    kind = apprise.NotifyType.SUCCESS if message.action == "resolve" else apprise.NotifyType.FAILURE
    text = f"{message.body}\nId: {message.reference}"
    return None if messenger.notify(title=message.title, body=text, notify_type=kind) else REFUSED


_DELIVERERS: Final[dict[str, Callable[[SplitResult, AlertMessage, Incident], str | None]]] = {
    "webhook": _webhook,
    "pagerduty": _pagerduty,
    "alertmanager": _alertmanager,
}
