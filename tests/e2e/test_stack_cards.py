"""Model cards and Data Docs in the Airflow UI: there for whoever is logged in, and for nobody else."""

from __future__ import annotations

import httpx
import pytest

from tests.e2e.conftest import RunningStack

pytestmark = pytest.mark.slow


def test_a_card_is_shown_to_whoever_is_logged_in_and_to_nobody_else(stack: RunningStack) -> None:
    (version,) = stack.sql("SELECT version FROM sluice.champion WHERE model = 'iris'")[0]
    path = f"/sluice/cards/iris/{version}"
    shown = stack.airflow.get(path)
    assert shown.status_code == 200, shown.text
    assert f"iris, version {version}" in shown.text
    assert f"Version {version} is the champion since " in shown.text
    assert "<svg" in shown.text, "the plots"
    assert "default-src 'none'" in shown.headers["Content-Security-Policy"]
    assert httpx.get(f"{stack.airflow.base_url}".rstrip("/") + path).status_code == 401
    assert stack.airflow.get("/sluice/cards/iris/99").status_code == 404
    assert stack.airflow.get("/sluice/cards/iris/x").status_code == 422

    card = stack.home / "artifacts" / "iris" / str(version) / "card.html"
    content = card.read_bytes()
    card.write_bytes(content.replace(b"Accepted", b"Splendid"))
    try:
        changed = stack.airflow.get(path)
        assert (changed.status_code, "was changed after it was registered" in changed.text) == (409, True)
        assert "Splendid" not in changed.text
    finally:
        card.write_bytes(content)


def test_a_button_the_log_and_the_asset_event_lead_to_the_card(stack: RunningStack) -> None:
    (version,) = stack.sql("SELECT version FROM sluice.champion WHERE model = 'iris'")[0]
    events = stack.call("GET", "/assets/events", params={"source_dag_id": "retrain_iris"})["asset_events"]
    assert f"/sluice/cards/iris/{version}" in {each["extra"].get("card") for each in events}
    run = events[0]["source_run_id"]
    log = stack.call(
        "GET", f"/dags/retrain_iris/dagRuns/{run}/taskInstances/gate/logs/1", headers={"Accept": "application/json"}
    )
    assert "/sluice/cards/iris/" in str(log)
    links = stack.call("GET", f"/dags/retrain_iris/dagRuns/{run}/taskInstances/gate/links")["extra_links"]
    assert links == {"Model card": f"{stack.airflow.base_url}".rstrip("/") + f"/sluice/cards/iris/{version}"}


def test_a_button_leads_to_the_data_docs_of_the_run(stack: RunningStack) -> None:
    event = stack.call("GET", "/assets/events", params={"source_dag_id": "retrain_iris"})["asset_events"][0]
    run = event["source_run_id"]
    (url,) = stack.call("GET", f"/dags/retrain_iris/dagRuns/{run}/taskInstances/validate/links")["extra_links"].values()
    path = url.removeprefix(f"{stack.airflow.base_url}".rstrip("/"))
    assert path.startswith("/sluice/data_docs/iris/")
    shown = stack.airflow.get(path)
    assert shown.status_code == 200, shown.text
    assert "<h1>iris: rows to train on</h1>" in shown.text
    assert "default-src 'none'" in shown.headers["Content-Security-Policy"]
    assert httpx.get(url).status_code == 401
    assert stack.airflow.get("/sluice/data_docs/iris/no_run").status_code == 404
    assert stack.airflow.get("/sluice/data_docs/..%2F..%2Fartifacts/iris/1").status_code == 404
