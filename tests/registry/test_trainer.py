"""Retraining under a login that is a member of `sluice_trainer` alone: enough to train, not to promote unasked."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from sqlalchemy import make_url

from include import pipeline
from include.errors import ApprovalRequiredError
from include.resources import Resources, open_resources, open_trainer_resources
from include.settings import Settings
from include.spec import ModelSpec
from include.warehouse import open_engine, under_role
from tests.builders import APPROVED_SPEC, declare_model, load_parcels, retrain

PASSWORD = "pw"  # noqa: S105  # of a server that lives for these tests


@pytest.fixture(params=["a login of its own", "everybody's, under its role"])
def trainer_url(database_url: str, request: pytest.FixtureRequest) -> Iterator[str]:
    if request.param != "a login of its own":
        yield under_role(database_url, "sluice_trainer")
        return
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE retrains LOGIN PASSWORD '{PASSWORD}' IN ROLE sluice_trainer")
    address = make_url(database_url).set(username="retrains", password=PASSWORD)
    yield address.render_as_string(hide_password=False)
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("DROP ROLE retrains")


@pytest.fixture
def spec(resources: Resources) -> ModelSpec:
    load_parcels(resources.engine)
    return declare_model(resources.settings.home / "models", spec=APPROVED_SPEC)


def test_it_trains_registers_and_promotes_what_somebody_approved(
    spec: ModelSpec, settings: Settings, resources: Resources, trainer_url: str
) -> None:
    with open_resources(settings.model_copy(update={"database_url": trainer_url})) as trainer:
        for number in (1, 2):  # the second is compared with a champion
            version = retrain(spec, f"run {number}", trainer, requested_by="ann")
            assert version.decision.accepted, version.decision.reasons
            with pytest.raises(ApprovalRequiredError, match="nobody has approved it"):
                pipeline.promote_candidate(spec, version, "ann", trainer)
            pipeline.approve_version(spec, version.version, "bob", "seen on the card", resources)
            assert pipeline.promote_candidate(spec, version, "ann", trainer).sequence == number


def test_it_cannot_approve_what_it_made(
    spec: ModelSpec, settings: Settings, resources: Resources, trainer_url: str
) -> None:
    with open_resources(settings.model_copy(update={"database_url": trainer_url})) as trainer:
        version = retrain(spec, "run 1", trainer)
        with pytest.raises(Exception, match="permission denied for function approve"):
            pipeline.approve_version(spec, version.version, "bob", "seen on the card", trainer)


def test_the_tasks_of_retraining_work_under_the_url_that_is_named_for_them(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLUICE_DATABASE_URL", database_url)
    assert _user() == "sluice"
    monkeypatch.setenv("SLUICE_TRAINER_DATABASE_URL", under_role(database_url, "sluice_trainer"))
    assert _user() == "sluice_trainer"


def test_what_a_url_asks_of_its_sessions_comes_beside_what_sluice_asks(database_url: str) -> None:
    engine = open_engine(under_role(database_url, "sluice_trainer"))
    with engine.connect() as connection:
        found = [connection.exec_driver_sql(f"SHOW {name}").scalar_one() for name in ("role", "timezone")]
    engine.dispose()
    assert found == ["sluice_trainer", "UTC"]


def _user() -> str:
    with open_trainer_resources() as resources, resources.engine.connect() as connection:
        return str(connection.exec_driver_sql("SELECT current_user").scalar_one())
