"""One cause is one message: the real Alertmanager, with the file of the repository, holds back what follows from it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.deploy.conftest import DEPLOY, Program, wait_until

pytestmark = pytest.mark.slow

CONFIGURATION = (DEPLOY / "alertmanager" / "alertmanager.yml").read_text(encoding="utf-8")


def firing(name: str, severity: str, **labels: str) -> dict[str, Any]:
    return {"labels": {"alertname": name, "severity": severity, **labels}}


def test_what_follows_from_an_alert_of_the_same_model_is_held_back(start_alertmanager: Callable[..., Program]) -> None:
    alertmanager = start_alertmanager(CONFIGURATION)
    alertmanager.post(
        "/api/v2/alerts",
        [
            firing("ErrorBudgetBurnFast", "page", model="iris"),
            firing("ErrorBudgetBurnSlow", "ticket", model="iris"),
            firing("HighErrorRate", "ticket", model="iris", status="500"),
            firing("HighErrorRate", "ticket", model="trip", status="500"),
            firing("NoChampion", "ticket", model="sugar"),
            firing("HighErrorRate", "ticket", model="sugar", status="503"),
            firing("ErrorBudgetBurnFast", "page", model="sugar"),
            firing("WatcherDown", "page"),
            firing("SchedulerDown", "page"),
        ],
    )

    def held_back() -> set[tuple[str, str]]:
        alerts = alertmanager.get("/api/v2/alerts")
        return {
            (each["labels"]["alertname"], each["labels"].get("model", ""))
            for each in alerts
            if each["status"]["inhibitedBy"]
        }

    wanted = {
        ("ErrorBudgetBurnSlow", "iris"),
        ("HighErrorRate", "iris"),
        ("HighErrorRate", "sugar"),
        ("SchedulerDown", ""),
    }
    wait_until(lambda: held_back() >= wanted, held_back)
    assert held_back() == wanted
