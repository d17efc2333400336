"""Rules, routes and runbook: valid for the real tools, each alert tested and explained."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from include.settings import REPOSITORY

DEPLOY = REPOSITORY / "deploy"
RULES = sorted((DEPLOY / "prometheus" / "rules").glob("*.yml"))
CASES = sorted((DEPLOY / "prometheus" / "tests").glob("*.yml"))
ALERTMANAGER = DEPLOY / "alertmanager" / "alertmanager.yml"
RUNBOOK = (REPOSITORY / "docs" / "runbook.md").read_text(encoding="utf-8")

promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="SKIPPED: the rules were NOT tested. apt-get install prometheus"
)
amtool = pytest.mark.skipif(
    shutil.which("amtool") is None,
    reason="SKIPPED: the routes were NOT tested. apt-get install prometheus-alertmanager",
)


def alerts() -> dict[str, dict[str, Any]]:
    groups = [group for file in RULES for group in yaml.safe_load(file.read_text(encoding="utf-8"))["groups"]]
    return {rule["alert"]: rule for group in groups for rule in group["rules"] if "alert" in rule}


ALERTS = alerts()


def run(*command: object) -> str:
    done = subprocess.run([str(each) for each in command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


# -- rules -----------------------------------------------------------------------------------------


@promtool
def test_prometheus_accepts_its_configuration_and_the_rules() -> None:
    assert "SUCCESS: 3 rule files found" in run("promtool", "check", "config", DEPLOY / "prometheus/prometheus.yml")
    run("promtool", "check", "rules", *RULES)


@promtool
@pytest.mark.parametrize("file", CASES, ids=lambda file: file.stem)
def test_the_alerts_fire_and_do_not_fire_as_the_cases_say(file: Path) -> None:
    assert "SUCCESS" in run("promtool", "test", "rules", file)


def test_every_alert_has_a_case_in_which_it_fires_and_one_in_which_it_does_not() -> None:
    fires: set[str] = set()
    silent: set[str] = set()
    for file in CASES:
        for test in yaml.safe_load(file.read_text(encoding="utf-8"))["tests"]:
            for case in test["alert_rule_test"]:
                (fires if case["exp_alerts"] else silent).add(case["alertname"])
    assert fires == silent == set(ALERTS)


@pytest.mark.parametrize("name", sorted(ALERTS))
def test_an_alert_says_how_urgent_it_is_what_happened_and_where_to_read_on(name: str) -> None:
    rule = ALERTS[name]
    assert rule["labels"]["severity"] in {"page", "ticket", "note"}
    # An alert of a model goes to the owner of the model.
    assert ("$labels.model" in str(rule["annotations"])) == ("owner" in rule["labels"])
    assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}
    summary, description = rule["annotations"]["summary"], rule["annotations"]["description"]
    assert len(summary) <= 100
    assert not summary.endswith(".")
    assert re.search(r"\.( |$)", description)
    assert rule["annotations"]["runbook_url"] == f"docs/runbook.md#{name.lower()}"


# -- runbook ---------------------------------------------------------------------------------------


def test_every_alert_has_its_section_in_the_runbook_and_every_section_an_alert() -> None:
    assert sorted(re.findall(r"^## (\w+)$", RUNBOOK, re.MULTILINE)) == sorted(ALERTS)


@pytest.mark.parametrize("name", sorted(ALERTS))
def test_a_section_of_the_runbook_says_what_it_means_what_to_look_at_and_what_to_do(name: str) -> None:
    section = RUNBOOK.split(f"## {name}\n")[1].split("\n## ")[0]
    assert section.strip().startswith(f"**{ALERTS[name]['labels']['severity'].capitalize()}.** ")
    assert section.index("**Look at:** ") < section.index("**Do:** ")


def test_every_link_of_the_runbook_leads_to_a_file_and_a_heading() -> None:
    links = re.findall(r"\]\(([^)#\s]*)(?:#([^)\s]+))?\)", RUNBOOK)
    assert len(links) > 10
    broken = []
    for file, anchor in links:
        target = REPOSITORY / "docs" / file if file else REPOSITORY / "docs" / "runbook.md"
        headings = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), re.MULTILINE) if target.exists() else []
        anchors = {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}
        if not headings or (anchor and anchor not in anchors):
            broken.append(f"{file}#{anchor}")
    assert broken == []


# -- routes ----------------------------------------------------------------------------------------


@amtool
def test_alertmanager_accepts_its_configuration() -> None:
    assert "SUCCESS" in run("amtool", "check-config", ALERTMANAGER)


@amtool
@pytest.mark.parametrize(
    ("labels", "receivers"),
    [
        ("severity=page model=iris owner=data-science", "owner-data-science,page"),
        ("severity=page", "page"),
        ("severity=ticket model=iris owner=somebody-else", "ticket"),
        ("severity=note model=iris owner=data-science", "note"),
        ("alertname=Strange", "ticket"),
    ],
)
def test_an_alert_reaches_the_receivers_of_its_severity_and_of_its_owner(labels: str, receivers: str) -> None:
    routed = run("amtool", "config", "routes", "test", "--config.file", ALERTMANAGER, *labels.split())
    assert routed.splitlines()[0] == receivers


def test_the_alerts_that_routes_and_inhibitions_name_exist() -> None:
    content = yaml.safe_load(ALERTMANAGER.read_text(encoding="utf-8"))
    matchers = [
        each
        for rule in content["inhibit_rules"]
        for each in (*rule["source_matchers"], *rule["target_matchers"])
        if each.startswith("alertname")
    ]
    named = {name for each in matchers for name in re.findall(r"[A-Z]\w+", each)}
    assert named
    assert named <= set(ALERTS)
    receivers = {each["name"] for each in content["receivers"]}
    assert {"page", "ticket", "note"} <= receivers
