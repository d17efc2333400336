"""``sluice alerts``: what is wrong, who has it, and whether messages arrive."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import Engine

from include.alerting import incidents
from include.records import Problem
from include.settings import load_settings

Call = Callable[..., tuple[int, str, str]]
NOW = datetime(2026, 3, 1, 5, tzinfo=UTC)
REASON = "The disk is being replaced"


def opened(engine: Engine, **changed: Any) -> int:
    values = {
        "kind": "failed_score",
        "model": "iris",
        "severity": "page",
        "summary": "score_iris.publish failed: the disk is full",
        "impact": "version 3 answers",
        "next_step": "Free some space.",
        "subjects": ("2026-02-28T00:00Z",),
        "since": NOW,
    }
    with engine.begin() as connection:
        return incidents.report(connection, Problem.model_validate(values | changed), load_settings(), NOW).id


def test_the_open_incidents_are_listed_the_worst_first(sluice: Call, engine: Engine) -> None:
    assert sluice("alerts") == (0, "No incident is open.\n", "")
    ticket = opened(engine, kind="failed_retrain", severity="ticket", summary="retrain_iris.train failed: why")
    page = opened(engine)
    assert sluice("alerts")[1].splitlines() == [
        f"{page:>5}  2026-03-01 05:00 UTC  [page] failed_score iris: score_iris.publish failed: the disk is full",
        f"{ticket:>5}  2026-03-01 05:00 UTC  [ticket] failed_retrain iris: retrain_iris.train failed: why",
    ]
    assert sluice("alerts", "--model", "pear")[1] == "No incident is open.\n"
    listed = json.loads(sluice("alerts", "--json")[1])
    assert [each["id"] for each in listed["incidents"]] == [page, ticket]


def test_an_incident_is_taken_over_and_closed_with_its_history(sluice: Call, engine: Engine) -> None:
    incident = str(opened(engine))
    assert "is yours" in sluice("alerts", "acknowledge", incident, "--reason", REASON)[1]
    assert "has it] failed_score" in sluice("alerts")[1]
    status, _, error = sluice("alerts", "acknowledge", incident, "--reason", REASON)
    assert (status, "has acknowledged" in error) == (1, True)
    assert sluice("alerts", "close", incident, "--reason", "The disk was replaced")[0] == 0
    assert sluice("alerts")[1] == "No incident is open.\n"
    assert "[ended] failed_score" in sluice("alerts", "--all")[1]
    lines = sluice("alerts", "show", incident)[1].splitlines()
    assert "Affected: 2026-02-28T00:00Z" not in lines, "nothing is affected any more"
    assert "Users get: version 3 answers" in lines
    history = lines[lines.index("History:") + 1 : lines.index("Messages:")]
    assert [line.split("  ")[2].split(" ")[0].rstrip(":") for line in history] == ["opened", "acknowledged", "resolved"]
    assert history[1].endswith(REASON)
    assert "The disk was replaced" in history[2]


def test_a_reason_is_needed_and_an_unknown_incident_is_named(sluice: Call) -> None:
    with pytest.raises(SystemExit):
        sluice("alerts", "close", "1", "--reason", "x")
    status, _, error = sluice("alerts", "show", "17")
    assert status == 1
    assert error.endswith(
        "sluice: expected the id of an incident; found 17. Nothing was changed. `sluice alerts --all` lists them.\n"
    )


def test_a_silence_is_listed_and_lifted(sluice: Call) -> None:
    said = sluice(
        "alerts", "silence", "--model", "parcels", "--kind", "late_partition", "--for", "4h", "--reason", REASON
    )
    assert said[1].startswith("Silence 1: nobody is told of incidents of kind late_partition of model parcels until ")
    assert REASON in sluice("alerts")[1]
    assert sluice("alerts", "lift", "1") == (0, "Silence 1 is lifted. What is open is told now.\n", "")
    assert REASON not in sluice("alerts")[1]
    assert sluice("alerts", "lift", "1")[0] == 1
    unknown = sluice("alerts", "silence", "--model", "parcel", "--for", "4h", "--reason", REASON)
    assert (unknown[0], "there is no model 'parcel'" in unknown[2]) == (1, True)


@pytest.mark.parametrize("duration", ["4", "h", "0m", "-1h", "91d", "4w", "1.5h", "\u0664h"])
def test_a_silence_has_an_end(sluice: Call, duration: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        sluice("alerts", "silence", f"--for={duration}", "--reason", REASON)
    assert "expected a time such as 30m, 4h or 2d" in capsys.readouterr().err


def test_a_test_tells_which_channel_accepted_it(sluice: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    status, _, error = sluice("alerts", "test")
    assert (status, "SLUICE_ALERT_CHANNELS (it is not set); found none" in error) == (1, True)
    monkeypatch.setenv("SLUICE_ALERT_CHANNELS", json.dumps({"ops": "webhook+http://127.0.0.1:1/x"}))
    assert "found opps" in sluice("alerts", "test", "opps")[2]
    status, said, _ = sluice("alerts", "test", "ops")
    assert status == 1
    trigger, resolve = said.splitlines()
    assert trigger.startswith("ops: trigger: not delivered after 1 attempt(s): not delivered: ConnectionRefusedError")
    assert resolve.startswith("ops: resolve: not delivered after 0 attempt(s)"), "not before the trigger"
