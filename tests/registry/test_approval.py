"""Approvals, as the database itself enforces them: with real logins, each a member of one role."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
from psycopg.errors import InsufficientPrivilege
from sqlalchemy import Engine, make_url

from include.errors import ApprovalRequiredError, ApprovalVoidError, ApproverNotAllowedError, CandidateRejectedError
from include.records import Decision, Evaluation, ModelVersion
from include.registry import Ledger, Manifest, read_approvals, store_approval
from include.registry.approvals import NEEDS_APPROVAL
from include.warehouse import migrate, open_engine, start_embedded, stop_embedded

PASSWORD = "pw"  # noqa: S105  # of a server that lives for this file
LOGINS = ("trainer", "approver", "operator")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server of its own, since roles belong to a whole server, with a login for each role."""
    home: Path = tmp_path_factory.mktemp("approvals")
    url = start_embedded(home, durable=False)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE owner LOGIN CREATEROLE PASSWORD '{PASSWORD}'")
        for name in LOGINS:
            connection.execute(f"CREATE ROLE {name} LOGIN PASSWORD '{PASSWORD}'")
    yield url
    stop_embedded(home)


@dataclass
class Harness:
    """The ledger, seen by each login."""

    engines: dict[str, Engine]

    def ledger(self, who: str) -> Ledger:
        return Ledger(self.engines[who])

    def register(
        self,
        model: str = "m",
        *,
        accepted: bool = True,
        needs_approval: bool = True,
        requested_by: str | None = None,
    ) -> ModelVersion:
        """Register a version as training does, under the trainer's login."""
        trainer = self.ledger("trainer")
        champion = trainer.champion(model)
        return trainer.register(
            Manifest(
                model=model,
                files={},
                spec_digest="s",
                data_digest="d",
                code_digest="c",
                libraries={},
                created_at=datetime.now(UTC),
            ),
            f"run {len(trainer.versions(model))}",
            Evaluation(
                model=model,
                rows=1,
                candidate={"roc_auc": 1e-7},
                baseline={"roc_auc": -0.0},
                champion_sequence=champion.sequence if champion else 0,
            ),
            Decision(accepted=accepted, gates=()),
            lambda version: f"artifact {version}",
            needs_approval=needs_approval,
            requested_by=requested_by,
        )

    def approve(self, version: ModelVersion, decision: str = "approved", approver: str = "bob") -> None:
        store_approval(
            self.engines["approver"],
            version,
            decision,
            approver=approver,
            requested_by="ann",
            comment="seen on the card",
        )

    def promote(self, version: ModelVersion, who: str = "trainer", actor: str = "ann") -> int:
        ledger = self.ledger(who)
        champion = ledger.champion(version.model)
        return ledger.promote(
            version.model,
            version.version,
            actor=actor,
            reason="because of the card",
            evidence_digest=version.evidence_digest,
            expected_sequence=champion.sequence if champion else 0,
        ).sequence


@pytest.fixture
def harness(server: str, request: pytest.FixtureRequest) -> Iterator[Harness]:
    name = f"db_{abs(hash(request.node.name)) % 10**9}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} OWNER owner")
    urls = {
        who: make_url(server).set(database=name, username=who, password=PASSWORD).render_as_string(hide_password=False)
        for who in (*LOGINS, "owner")
    }
    migrate(urls["owner"])
    with psycopg.connect(server, autocommit=True) as connection:
        for who in LOGINS:
            connection.execute(f"GRANT sluice_{who} TO {who}")
    engines = {who: open_engine(url) for who, url in urls.items()}
    yield Harness(engines)
    for engine in engines.values():
        engine.dispose()


def test_a_trainer_cannot_promote_what_nobody_approved_and_can_what_somebody_did(harness: Harness) -> None:
    version = harness.register()
    with pytest.raises(ApprovalRequiredError, match="nobody has approved it"):
        harness.promote(version)
    harness.approve(version)
    assert harness.promote(version) == 1


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO sluice.promotion VALUES ('m', 1, NULL, 1, 'ann', 'because', 'e')",
        "INSERT INTO sluice.approval (model, version, decision, approver) VALUES ('m', 1, 'approved', 'bob')",
        "SELECT sluice.approve('m', 1, 'e', 'approved', 'bob', 'ann', '')",
        "SELECT sluice.waive_approval('m', 'ann', 'because')",
        "ALTER TABLE sluice.promotion DISABLE TRIGGER guard",
        "UPDATE sluice.model_version SET needs_approval = false",
    ],
)
def test_nor_by_any_way_round(harness: Harness, statement: str) -> None:
    harness.register()
    with (
        harness.engines["trainer"].connect() as connection,
        pytest.raises(Exception, match=r"permission|owner") as error,
    ):
        connection.exec_driver_sql(statement)
    assert isinstance(error.value.orig, InsufficientPrivilege)


def test_leaving_the_word_out_of_a_later_version_does_not_help(harness: Harness) -> None:
    harness.register()
    later = harness.register(needs_approval=False)
    with pytest.raises(ApprovalRequiredError):
        harness.promote(later)
    with harness.engines["operator"].begin() as connection:
        connection.exec_driver_sql("SELECT sluice.waive_approval('m', 'olga', 'it needs none any more')")
    assert harness.promote(later) == 1


def test_not_even_the_owner_inserts_a_promotion_past_it(harness: Harness) -> None:
    harness.register()
    with (
        harness.engines["owner"].connect() as connection,
        pytest.raises(Exception, match="nobody has approved") as error,
    ):
        connection.exec_driver_sql(
            "INSERT INTO sluice.promotion (model, sequence, to_version, actor, reason, evidence_digest)"
            " VALUES ('m', 1, 1, 'owner', 'because I can', 'e')"
        )
    assert error.value.orig.sqlstate == NEEDS_APPROVAL


def test_an_approval_is_void_after_another_version_was_registered(harness: Harness) -> None:
    version = harness.register()
    harness.approve(version)
    harness.register()
    with pytest.raises(ApprovalRequiredError, match="version 2 was registered since"):
        harness.promote(version)


def test_and_after_the_champion_moved(harness: Harness) -> None:
    one, two = harness.register(), harness.register()
    harness.approve(one)
    harness.promote(one)
    harness.approve(two)
    # A rollback to nothing else than what was champion: the sequence moves on.
    three = harness.register()
    harness.approve(three)
    harness.promote(three)
    harness.promote(one, who="operator")
    with pytest.raises(ApprovalRequiredError, match=r"the champion has moved since|was registered since"):
        harness.promote(two)


def test_a_former_champion_is_gone_back_to_without_an_approval(harness: Harness) -> None:
    for _ in range(2):
        version = harness.register()
        harness.approve(version)
        harness.promote(version)
    assert harness.promote(harness.ledger("trainer").version("m", 1)) == 3


@pytest.mark.parametrize("decision", ["rejected", "timed out"])
def test_a_no_is_a_no_also_after_a_yes(harness: Harness, decision: str) -> None:
    version = harness.register()
    harness.approve(version)
    harness.approve(version, decision)
    with pytest.raises(ApprovalRequiredError, match=decision):
        harness.promote(version)


def test_nobody_approves_for_oneself(harness: Harness) -> None:
    version = harness.register()
    with pytest.raises(ApproverNotAllowedError, match="triggered the run may not approve it") as refused:
        harness.approve(version, approver="ann")  # who triggered
    assert "not_by_oneself" in str(refused.value.__cause__), "the database refused it"
    harness.approve(version, approver="bob")
    with pytest.raises(ApprovalRequiredError, match="bob approved it and may not promote it, too"):
        harness.promote(version, who="operator", actor="bob")


def test_who_triggered_approves_by_no_way_once_the_ledger_knows_them(harness: Harness) -> None:
    version = harness.register(requested_by="eve")
    with pytest.raises(ApproverNotAllowedError, match="triggered the run may not approve it") as refused:
        harness.approve(version, approver="eve")  # though the caller says that ann asked for it
    assert "not_by_oneself" in str(refused.value.__cause__), "the database refused it"
    harness.approve(version, approver="bob")
    (said,) = read_approvals(harness.engines["approver"], "m")
    assert said.requested_by == version.requested_by == "eve"


def test_an_approval_is_of_the_evidence_that_is_registered(harness: Harness) -> None:
    version = harness.register()
    other = version.model_copy(update={"artifact_digest": "another"})
    with pytest.raises(ApprovalVoidError, match="the evidence changed") as refused:
        harness.approve(other)
    assert "the evidence is not that of the registered version" in str(refused.value.__cause__)
    assert read_approvals(harness.engines["approver"], "m") == ()


def test_what_people_said_is_kept_for_good(harness: Harness) -> None:
    version = harness.register()
    harness.approve(version)
    (said,) = read_approvals(harness.engines["approver"], "m")
    assert (said.approver, said.requested_by, said.database_user) == ("bob", "ann", "approver")
    assert (said.champion_sequence, said.newest_version, said.evidence_digest) == (0, 1, version.evidence_digest)
    for statement in ("UPDATE sluice.approval SET approver = 'eve'", "DELETE FROM sluice.approval"):
        with harness.engines["owner"].connect() as connection, pytest.raises(Exception, match="append-only"):
            connection.exec_driver_sql(statement)


def test_a_trainer_promotes_what_the_gates_accepted_and_an_operator_the_rest(harness: Harness) -> None:
    refused = harness.register("free", accepted=False, needs_approval=False)
    with pytest.raises(CandidateRejectedError):
        harness.promote(refused)
    assert harness.promote(refused, who="operator") == 1
    assert harness.promote(harness.register("free", needs_approval=False)) == 2


def test_what_was_registered_is_read_back_with_the_digest_that_was_stored(harness: Harness) -> None:
    version = harness.register()
    read = harness.ledger("approver").version("m", 1)
    assert read == version
    with harness.engines["owner"].connect() as connection:
        stored = connection.exec_driver_sql("SELECT evidence_digest FROM sluice.model_version").scalar_one()
    assert stored == read.evidence_digest == version.evidence_digest
