"""The deletion of a model: everything of it goes, its history stays, and nothing of it is used again."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import text

from include import pipeline
from include.cli import main
from include.errors import (
    ModelAliveError,
    ModelDeclaredError,
    ModelInUseError,
    NoChampionError,
    NothingToDeleteError,
    PromotionConflictError,
    QueryError,
    ReasonError,
    VersionDeletedError,
)
from include.records import Decision, Evaluation, ModelVersion, Promotion
from include.registry import LocalArtifactStore, Manifest, assign_shadow, assigned_shadow, file_digest, store_approval
from include.resources import Resources
from include.scoring.tables import ensure_score_table, ensure_shadow_table
from include.settings import Settings
from include.spec import ModelSpec
from include.steps.deletion import remove_from_database
from tests.builders import TODAY, declare_model
from tests.scoring.conftest import DAY, Harness

WHY = "replaced by another model"


class Life:
    """A model with two versions and their artifacts, both promoted, a published partition, and files."""

    def __init__(self, resources: Resources, name: str = "parcels") -> None:
        self.resources, self.name = resources, name
        self.models = resources.settings.models_dir
        self.spec: ModelSpec = declare_model(self.models, name)
        with resources.engine.begin() as connection:
            connection.exec_driver_sql(
                f"CREATE TABLE source.{name} (parcel_id text, sent_at timestamptz, weight float8, distance float8,"
                " carrier text, fragile boolean, outcome text)"
            )
        self.scores = Harness(resources.engine, resources.database_url, self.spec)
        self.register("run 1")
        self.register("run 2")
        self.promote(1, 0)
        self.promote(2, 1)
        self.score("score 1", 2)

    def register(self, run: str, *, needs_approval: bool = False) -> ModelVersion:
        folder = self.resources.settings.work_dir / self.name / run
        folder.mkdir(parents=True)
        (folder / "model.onnx").write_bytes(run.encode())
        manifest = Manifest(
            model=self.name, files={"model.onnx": file_digest(folder / "model.onnx")}, spec_digest="s",
            data_digest="d", code_digest="c", libraries={}, created_at=TODAY,
        )  # fmt: skip
        evaluation = Evaluation(model=self.name, rows=100, candidate={"roc_auc": 0.8}, baseline={"roc_auc": 0.7})
        return self.resources.ledger.register(
            manifest, run, evaluation, Decision(accepted=True, gates=()),
            lambda version: self.resources.artifacts.put(folder, manifest, version), needs_approval=needs_approval,
        )  # fmt: skip

    def promote(self, version: int, expected: int) -> Promotion:
        return self.resources.ledger.promote(
            self.name, version, actor="ann", reason="because of the card", evidence_digest="e",
            expected_sequence=expected,
        )  # fmt: skip

    def score(self, run: str, version: int) -> None:
        ensure_score_table(self.resources.engine, self.spec)
        self.scores.score(3, run, version=version)

    def undeclare(self) -> None:
        shutil.rmtree(self.models / self.name)

    def delete(self) -> None:
        pipeline.delete_model(self.name, "ann", WHY, self.resources)

    @property
    def left(self) -> list[str]:
        """Relations and folders of the model."""
        relations = self.scores.read(
            "SELECT relname FROM pg_class WHERE relnamespace IN ('scores'::regnamespace, 'staging'::regnamespace)"
            f" AND relname ~ '^{self.name}($|_(p[0-9]|latest|shadow|of_ann))' AND relkind IN ('r', 'p', 'v')"
        )
        home = self.resources.settings.home
        return [name for (name,) in relations] + [str(each) for each in home.glob(f"*/{self.name}")]


@pytest.fixture
def resources(settings: Settings, tmp_path: Path):
    (tmp_path / "models").mkdir()
    with pipeline.open_resources(settings.model_copy(update={"models_dir": tmp_path / "models"})) as resources:
        yield resources


@pytest.fixture
def life(resources: Resources) -> Life:
    return Life(resources)


def test_everything_of_the_model_goes_and_nothing_of_another(life: Life, resources: Resources) -> None:
    engine, other = resources.engine, Life(resources, "parcels_two")
    with engine.begin() as connection:
        ensure_shadow_table(connection, life.spec)
        connection.exec_driver_sql("CREATE TABLE scores.parcels_p20250101_0000 (left_by_retention int)")
        connection.exec_driver_sql("CREATE TABLE scores.parcels_of_ann (entity_key text)")
        for name in (life.name, other.name):
            connection.execute(
                text(
                    "INSERT INTO sluice_jobs.job (id, model, version, artifact_digest, subject, state, row_count,"
                    " prediction_bytes, reserved_bytes, expires_at)"
                    " VALUES (:id, :model, 2, 'a', 'ann', 'queued', 1, 9, 9, now())"
                ),
                {"id": uuid.uuid4(), "model": name},
            )
    life.scores.stage(life.scores.plan(3, "unfinished", version=2))
    (resources.settings.docs_dir / life.name / "run").mkdir(parents=True)
    (resources.settings.home / "snapshots" / life.name).mkdir(parents=True)
    before = other.left
    life.undeclare()
    plan = pipeline.plan_deletion(life.name, resources)
    assert (plan.versions, plan.champion, plan.partitions, plan.rows, plan.jobs) == ((1, 2), 2, 1, 3, 1)
    assert plan.relations == (
        "scores.parcels_latest", "scores.parcels", "scores.parcels_p20250101_0000", "scores.parcels_shadow",
    )  # fmt: skip
    assert len(plan.staging) == 1
    assert plan.artifacts == (1, 2)
    assert {Path(each).parent.name for each in plan.folders} == {"snapshots", "work", "data_docs"}
    life.delete()
    assert life.left == ["parcels_of_ann"]
    assert resources.artifacts.list(life.name) == ()
    assert (other.left, resources.artifacts.list(other.name)) == (before, (1, 2))
    assert life.scores.read("SELECT model FROM sluice_jobs.job") == [(other.name,)]
    assert resources.ledger.champions().keys() == {other.name}


def test_the_history_stays_and_nothing_of_it_is_used(life: Life, resources: Resources) -> None:
    ledger = resources.ledger
    registered = ledger.version(life.name, 2)
    assign_shadow(resources.engine, life.name, 1, "ann")
    life.undeclare()
    life.delete()
    declare_model(life.models)
    assert ledger.champion(life.name) is None
    assert ledger.published_partitions(life.name) == ()
    assert assigned_shadow(resources.engine, life.name) is None
    assert [each.version for each in ledger.versions(life.name, with_deleted=True)] == [1, 2]
    assert ledger.versions(life.name) == ledger.promotions(life.name) == ()
    for forbidden in (
        lambda: pipeline.move_champion(life.name, 1, "ann", WHY, resources, life.spec),
        lambda: pipeline.roll_back(life.name, 1, "ann", WHY, resources, life.spec),
        lambda: pipeline.score(life.spec, "again", DAY, resources, version=2),
        lambda: pipeline.set_challenger(life.name, 2, "ann", resources),
        lambda: pipeline.explain_promotion(life.name, 1, resources),
        lambda: store_approval(
            resources.engine, registered, "approved", approver="bob", requested_by=None, comment=WHY
        ),
    ):
        with pytest.raises(VersionDeletedError, match=r"version [12] of 'parcels': .*deleted.*continue with the next"):
            forbidden()
    with pytest.raises(NoChampionError):
        pipeline.score(life.spec, "again", DAY, resources)
    # Runs that began before the deletion, and register or publish after it.
    with pytest.raises(VersionDeletedError):
        life.register("run 2")
    ensure_score_table(resources.engine, life.spec)
    with pytest.raises(QueryError, match="version 2 of parcels was deleted"):
        life.scores.score(3, "late", version=2)


def test_who_was_champion_at_a_time_stays_answered(life: Life, resources: Resources) -> None:
    life.undeclare()
    life.delete()
    (deletion,) = resources.ledger.deletions(life.name)
    last = resources.ledger.promotions(life.name, with_deleted=True)[-1]
    assert resources.ledger.champion_at(life.name, last.promoted_at) is None
    assert resources.ledger.champion_at(life.name, last.promoted_at, with_deleted=True) == last
    assert resources.ledger.champion_at(life.name, deletion.deleted_at, with_deleted=True) is None
    periods = life.scores.read("SELECT version, until_time FROM sluice.champion_history ORDER BY sequence")
    assert periods == [(1, last.promoted_at), (2, deletion.deleted_at)]
    assert (deletion.last_version, deletion.last_sequence) == (2, 2)


def test_a_new_life_starts_afresh_with_the_next_numbers(life: Life, resources: Resources) -> None:
    life.undeclare()
    life.delete()
    declare_model(life.models)
    assert life.register("run 3").version == 3
    with pytest.raises(VersionDeletedError):
        life.promote(2, 0)
    promotion = life.promote(3, 0)
    assert (promotion.sequence, promotion.from_version) == (3, None)
    with pytest.raises(PromotionConflictError, match="'ann' promoted version 3 first"):
        life.promote(3, 0)
    life.score("score 3", 3)
    assert [each.version for each in resources.ledger.published_partitions(life.name)] == [3]
    assert life.scores.read("SELECT DISTINCT model_version FROM scores.parcels") == [(3,)]
    with pytest.raises(VersionDeletedError):
        pipeline.roll_back(life.name, 2, "ann", WHY, resources)
    assert resources.ledger.champion_at(life.name, TODAY) is None
    life.undeclare()
    life.delete()
    assert [each.last_version for each in resources.ledger.deletions(life.name)] == [2, 3]
    assert life.left == []


def test_approvals_that_were_needed_before_are_void_and_not_needed_after(life: Life, resources: Resources) -> None:
    old = life.register("run 3", needs_approval=True)
    store_approval(resources.engine, old, "approved", approver="bob", requested_by=None, comment=WHY)
    life.undeclare()
    life.delete()
    life.register("run 4")
    assert life.promote(4, 0).to_version == 4


# -- what is refused ---------------------------------------------------------------------------------


def test_a_declared_model_is_refused_with_what_to_do(life: Life, resources: Resources) -> None:
    (life.models / life.name / "spec.py").write_text("broken", encoding="utf-8")
    with pytest.raises(ModelDeclaredError, match="Remove the folder, from git too"):
        life.delete()
    assert resources.ledger.champion(life.name) is not None


@pytest.mark.parametrize("name", ["parcel", "../parcels", "parcels/1", "", 'x"; DROP TABLE scores.parcels; --'])
def test_an_unknown_name_is_refused_with_the_near_one(life: Life, resources: Resources, name: str) -> None:
    life.undeclare()
    with pytest.raises(NothingToDeleteError) as refused:
        pipeline.delete_model(name, "ann", WHY, resources)
    assert ("Did you mean 'parcels'?" in str(refused.value)) == ("parcel" in name and "DROP" not in name)


def test_a_reason_is_required(life: Life, resources: Resources) -> None:
    life.undeclare()
    with pytest.raises(ReasonError):
        pipeline.delete_model(life.name, "ann", " short ", resources)
    assert resources.ledger.champion(life.name) is not None


OF_ANALYSTS = {
    "view source.v": "CREATE VIEW source.v AS SELECT count(*) AS n FROM scores.parcels_latest",
    "materialized view source.m": "CREATE MATERIALIZED VIEW source.m AS SELECT model_version FROM scores.parcels",
    "constraint link on table source.f": "CREATE TABLE source.f (k text, p timestamptz,"
    " CONSTRAINT link FOREIGN KEY (k, p) REFERENCES scores.parcels)",
    "column s of table source.t": "CREATE TABLE source.t (s scores.parcels)",
    "function source.g()": "CREATE FUNCTION source.g() RETURNS bigint BEGIN ATOMIC"
    " SELECT count(*) FROM scores.parcels; END",
    "table scores.theirs": "CREATE TABLE scores.theirs PARTITION OF scores.parcels DEFAULT",
    "view source.p": "CREATE VIEW source.p AS SELECT 1 AS one FROM scores.parcels_p20260220_0000",
}


def test_what_analysts_made_on_the_tables_is_listed_and_stays(life: Life, resources: Resources) -> None:
    with resources.engine.begin() as connection:
        for statement in (*OF_ANALYSTS.values(), "CREATE VIEW source.w AS SELECT n FROM source.v"):
            connection.exec_driver_sql(statement)
    life.undeclare()
    before = life.left
    assert set(pipeline.plan_deletion(life.name, resources).dependents) == {*OF_ANALYSTS, "view source.w"}
    with pytest.raises(ModelInUseError, match=r"view source\.v; view source\.w"):
        life.delete()
    with pytest.raises(ModelInUseError):  # made after the list was shown
        remove_from_database(life.name, "ann", WHY, resources.engine)
    assert life.left == before
    assert resources.ledger.champion(life.name) is not None


# -- interrupted -------------------------------------------------------------------------------------

KILLED = """
import os, shutil, signal, sys
from include import pipeline, scoring
from include.registry import LocalArtifactStore
from include.steps import deletion
from include.settings import load_settings

def killed(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

where = {"tables": (scoring, "drop_relations"), "record": (deletion, "record_deletion"),
         "artifacts": (LocalArtifactStore, "remove"), "folders": (shutil, "rmtree")}[sys.argv[1]]
real = getattr(*where)
calls = []

def after(*arguments, **named):
    found = real(*arguments, **named)
    calls.append(found)
    if len(calls) == int(sys.argv[2]):
        killed()
    return found

setattr(*where, after)
with pipeline.open_resources(load_settings()) as resources:
    pipeline.delete_model("parcels", "ann", "the first command", resources)
"""


@pytest.mark.parametrize(
    ("step", "call", "recorded"),
    [("tables", 1, False), ("record", 1, False), ("artifacts", 1, True), ("folders", 2, True)],
)
def test_a_killed_deletion_is_finished_by_the_same_command(
    life: Life, resources: Resources, step: str, call: int, recorded: bool
) -> None:
    (resources.settings.docs_dir / life.name).mkdir(parents=True)
    life.undeclare()
    settings = resources.settings
    environment = os.environ | {
        "SLUICE_HOME": str(settings.home), "SLUICE_DATABASE_URL": resources.database_url,
        "SLUICE_MODELS_DIR": str(settings.models_dir),
    }  # fmt: skip
    done = subprocess.run([sys.executable, "-c", KILLED, step, str(call)], env=environment, check=False)
    assert done.returncode == -signal.SIGKILL
    assert [each.reason for each in resources.ledger.deletions(life.name)] == ["the first command"] * recorded
    # All of the tables, or none.
    assert bool(life.scores.read("SELECT to_regclass('scores.parcels') IS NULL")[0][0]) is recorded
    assert (resources.ledger.champion(life.name) is None) is recorded
    assert life.left != []
    life.delete()
    assert life.left == []
    (deletion,) = resources.ledger.deletions(life.name)
    assert deletion.reason == ("the first command" if recorded else WHY)
    life.delete()  # nothing is left to do, and that is no error
    assert resources.ledger.deletions(life.name) == (deletion,)


def test_the_artifact_of_a_version_that_was_registered_meanwhile_stays(
    life: Life, resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    life.undeclare()

    def then_register(*arguments):
        deletion = remove_from_database(*arguments)
        life.register("run 3")
        return deletion

    monkeypatch.setattr("include.steps.deletion.remove_from_database", then_register)
    with pytest.raises(ModelAliveError, match="found version 3"):
        life.delete()
    assert resources.artifacts.list(life.name) == (1, 2, 3)


def test_the_services_are_notified(life: Life, resources: Resources) -> None:
    life.undeclare()
    with psycopg.connect(resources.database_url, autocommit=True) as listener:
        listener.execute("LISTEN sluice_promotion")
        life.delete()
        assert [each.payload for each in listener.notifies(timeout=10, stop_after=1)] == [life.name]


# -- the command -------------------------------------------------------------------------------------


@pytest.fixture
def sluice(life: Life, monkeypatch, capsys) -> Callable[..., tuple[int, str, str]]:
    settings = life.resources.settings
    monkeypatch.setenv("SLUICE_DATABASE_URL", life.resources.database_url)
    monkeypatch.setenv("SLUICE_HOME", str(settings.home))
    monkeypatch.setenv("SLUICE_MODELS_DIR", str(settings.models_dir))

    def call(*words: str) -> tuple[int, str, str]:
        code = main(words)
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


def test_the_command_lists_asks_deletes_and_the_history_shows_it(life: Life, sluice) -> None:
    asked = ("delete", "parcels", "--reason", WHY)
    assert "is still declared" in sluice(*asked)[2]
    life.undeclare()
    code, said, complained = sluice(*asked)
    assert code == 1
    assert "1 partition(s), 3 rows" in said
    assert "1, 2, with the champion, version 2; the ledger keeps their history" in said
    assert "expected a terminal" in complained
    assert life.resources.ledger.champion("parcels") is not None
    code, said, _ = sluice(*asked, "--yes")
    assert code == 0
    assert f": {WHY}\n" in said
    code, said, _ = sluice("versions", "parcels")
    assert code == 0
    assert [line.split()[4] for line in said.splitlines()[1:]] == ["deleted", "deleted"]
    code, said, _ = sluice("history", "parcels")
    assert code == 0
    assert said.splitlines()[-1].startswith(" deleted ")
    assert said.splitlines()[-1].endswith(f": {WHY}")
    assert "parcels was deleted on" in sluice(*asked, "--yes")[1]


@pytest.mark.parametrize(("typed", "code"), [("parcels\n", 0), ("parcel\n", 1), ("\n", 1)])
def test_a_person_types_the_name_of_the_model(life: Life, sluice, monkeypatch, typed: str, code: int) -> None:
    life.undeclare()
    controller, terminal = os.openpty()
    os.write(controller, typed.encode())
    with os.fdopen(terminal) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        assert sluice("delete", "parcels", "--reason", WHY)[0] == code
    os.close(controller)
    assert (life.resources.ledger.champion("parcels") is None) == (code == 0)


def test_a_link_in_place_of_the_folder_of_artifacts_is_refused(life: Life, tmp_path: Path) -> None:
    store = life.resources.artifacts
    assert isinstance(store, LocalArtifactStore)
    folder = life.resources.settings.artifacts_dir / "linked"
    folder.symlink_to(tmp_path)
    with pytest.raises(Exception, match="expected a folder; found a link"):
        store.remove("linked")
    assert tmp_path.exists()
