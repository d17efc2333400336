"""The ledger of versions and promotions. Rows are only added, never updated or deleted.

What belongs to a deleted model is history: it is returned only with `with_deleted`.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError, IntegrityError

from include.errors import PromotionConflictError, UnknownVersionError, VersionDeletedError
from include.records import Decision, Evaluation, ModelDeletion, ModelVersion, Promotion, PublishedPartition
from include.registry.approvals import translate_error
from include.registry.artifacts import Manifest
from include.registry.deletions import read_deletions
from include.registry.holds import write_hold

_VERSION = """
    SELECT model, version, artifact_digest, spec_digest, data_digest, run_id, evaluation, decision, created_at,
           needs_approval, requested_by, origin_digest
    FROM sluice.model_version
"""
_REGISTER = """
    INSERT INTO sluice.model_version (model, version, artifact_digest, spec_digest, data_digest, run_id,
        evaluation, decision, created_at, needs_approval, requested_by, origin_digest, evidence_digest)
    VALUES (:model, :version, :artifact_digest, :spec_digest, :data_digest, :run_id,
        cast(:evaluation AS jsonb), cast(:decision AS jsonb), :created_at, :needs_approval, :requested_by,
        :origin_digest, :evidence_digest)
"""
_PROMOTION = """
    SELECT model, sequence, from_version, to_version, actor, reason, evidence_digest, promoted_at FROM sluice.promotion
"""
_PROMOTE = """
    SELECT model, sequence, from_version, to_version, actor, reason, evidence_digest, promoted_at
    FROM sluice.promote(:model, :to_version, :expected, :actor, :reason, :evidence_digest, :by_name, :allow_older)
"""


_PRESENT_VERSION = """version > coalesce(
    (SELECT max(last_version) FROM sluice.model_deletion WHERE model_deletion.model = model_version.model), 0)
"""
_PRESENT_PROMOTION = """sequence > coalesce(
    (SELECT max(last_sequence) FROM sluice.model_deletion WHERE model_deletion.model = promotion.model), 0)
"""
_IN_FORCE_AT = """promoted_at <= :at AND NOT EXISTS (
    SELECT FROM sluice.model_deletion AS deletion
    WHERE deletion.model = promotion.model AND last_sequence >= sequence AND deleted_at <= :at)
"""


class Ledger:
    """The append-only tables ``sluice.model_version`` and ``sluice.promotion``.

    Parameters
    ----------
    engine : sqlalchemy.Engine
        A connection to a migrated database.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    # -- versions ---------------------------------------------------------------------------------

    def register(
        self,
        manifest: Manifest,
        run_id: str,
        evaluation: Evaluation,
        decision: Decision,
        save_artifact: Callable[[int], str],
        *,
        needs_approval: bool = False,
        requested_by: str | None = None,
        origin_digest: str | None = None,
        again: bool = False,
    ) -> ModelVersion:
        """Register the run's candidate as the next version; a run registers once, and so does an origin.

        Parameters
        ----------
        manifest : Manifest
            The model, and the digests of the candidate's files and origin.
        save_artifact : callable
            Given the new version's number, saves the artifact and returns its digest. It runs inside the transaction:
            if it fails, the number is free again.
        needs_approval : bool
            Whether a person must approve it before it may be promoted.
        requested_by : str, optional
            The person who triggered the run and so may not approve it. None: its schedule.
        origin_digest : str, optional
            The digest of all that the version was made from.
        again : bool
            Whether the origin may be registered a second time.

        Returns
        -------
        ModelVersion
            The new version, or the version that this run has already registered. It is another run's when that one
            has registered the same origin.

        Raises
        ------
        VersionDeletedError
            When the run has registered a version, and the model was deleted since.
        """
        model = manifest.model
        with self._engine.begin() as connection:
            # One registration per model at a time, so that numbers have no gap.
            connection.execute(
                text("SELECT pg_advisory_xact_lock(hashtextextended('sluice.register.' || :model, 0))"),
                {"model": model},
            )
            known = self._one_version(connection, "run_id = :key", model, run_id)
            if known is not None:
                self._check_present(connection, known)
                return known
            made = None if origin_digest is None or again else self._of_origin(connection, model, origin_digest)
            if made is not None:
                return made
            version = int(
                connection.execute(
                    text("SELECT coalesce(max(version), 0) + 1 FROM sluice.model_version WHERE model = :model"),
                    {"model": model},
                ).scalar_one()
            )
            # As the database returns it, so that the digest of the row can be computed again.
            stored = connection.execute(
                text(
                    "SELECT cast(:evaluation AS jsonb) AS evaluation, cast(:decision AS jsonb) AS decision,"
                    " clock_timestamp() AS created_at"
                ),
                {"evaluation": evaluation.model_dump_json(), "decision": decision.model_dump_json()},
            )
            written = ModelVersion(
                model=model,
                version=version,
                artifact_digest=save_artifact(version),
                spec_digest=manifest.spec_digest,
                data_digest=manifest.data_digest,
                run_id=run_id,
                needs_approval=needs_approval,
                requested_by=requested_by,
                origin_digest=origin_digest,
                **stored.mappings().one(),
            )
            connection.execute(
                text(_REGISTER),
                written.to_plain()
                | {
                    "evaluation": evaluation.model_dump_json(),
                    "decision": decision.model_dump_json(),
                    "evidence_digest": written.evidence_digest,
                },
            )
        return written

    def versions(self, model: str, *, with_deleted: bool = False) -> tuple[ModelVersion, ...]:
        """Return every version of `model`, oldest first."""
        condition = "" if with_deleted else f"AND {_PRESENT_VERSION}"
        statement = text(f"{_VERSION} WHERE model = :model {condition} ORDER BY version")
        with self._engine.connect() as connection:
            rows = connection.execute(statement, {"model": model})
            return tuple(ModelVersion.model_validate(dict(row)) for row in rows.mappings())

    def version(self, model: str, version: int) -> ModelVersion:
        """Return one version.

        Raises
        ------
        UnknownVersionError
            Lists the existing versions.
        VersionDeletedError
            When the model was deleted since.
        """
        with self._engine.connect() as connection:
            found = self._one_version(connection, "version = :key", model, version)
            if found is not None:
                self._check_present(connection, found)
        if found is None:
            raise UnknownVersionError(model, version, self.version_numbers(model))
        return found

    def version_of_origin(self, model: str, origin_digest: str) -> ModelVersion | None:
        """Return the newest version that was made from the same things, see `ModelVersion`; None when there is none."""
        with self._engine.connect() as connection:
            return self._of_origin(connection, model, origin_digest)

    def version_numbers(self, model: str) -> list[int]:
        """Return the number of every version of `model`, in ascending order, without the rest of their records."""
        statement = text(
            f"SELECT version FROM sluice.model_version WHERE model = :model AND {_PRESENT_VERSION} ORDER BY version"  # noqa: S608  # constants
        )
        with self._engine.connect() as connection:
            return list(connection.execute(statement, {"model": model}).scalars())

    # -- promotions -------------------------------------------------------------------------------

    def champion(self, model: str) -> Promotion | None:
        """Return the promotion in force; None when there is none."""
        with self._engine.connect() as connection:
            return self._one_promotion(connection, f"AND {_PRESENT_PROMOTION}", {"model": model})

    def champions(self) -> dict[str, Promotion]:
        """Return the promotion in force of every model that has one."""
        newest = _PROMOTION.replace("SELECT", "SELECT DISTINCT ON (model)", 1)
        statement = f"{newest} WHERE {_PRESENT_PROMOTION} ORDER BY model, sequence DESC"
        with self._engine.connect() as connection:
            found = [Promotion.model_validate(dict(row)) for row in connection.execute(text(statement)).mappings()]
        return {promotion.model: promotion for promotion in found}

    def champion_at(self, model: str, at: datetime, *, with_deleted: bool = False) -> Promotion | None:
        """Return the promotion that was in force at the time `at`."""
        condition = f"AND {_IN_FORCE_AT}" + ("" if with_deleted else f"AND {_PRESENT_PROMOTION}")
        with self._engine.connect() as connection:
            return self._one_promotion(connection, condition, {"model": model, "at": at})

    def promotions(self, model: str, *, with_deleted: bool = False) -> tuple[Promotion, ...]:
        """Return every promotion of `model`, oldest first."""
        condition = "" if with_deleted else f"AND {_PRESENT_PROMOTION}"
        statement = text(f"{_PROMOTION} WHERE model = :model {condition} ORDER BY sequence")
        with self._engine.connect() as connection:
            rows = connection.execute(statement, {"model": model})
            return tuple(Promotion.model_validate(dict(row)) for row in rows.mappings())

    def promote(
        self,
        model: str,
        to_version: int,
        *,
        actor: str,
        reason: str,
        evidence_digest: str,
        expected_sequence: int,
        by_name: bool = False,
        allow_older: bool = False,
        hold: bool = False,
    ) -> Promotion:
        """Make `to_version` the champion, if the champion is still the one that the caller read.

        A rollback is a promotion of an older version.

        Parameters
        ----------
        expected_sequence : int
            The highest sequence number that the caller read; 0 when the model had no champion.
        by_name : bool
            Whether a person names the version: then neither a hold nor older data refuse it.
        allow_older : bool
            Whether its data may end before those of the champion.
        hold : bool
            Whether promotions are held from then on, with the same actor and reason, in the same transaction.

        Raises
        ------
        UnknownVersionError
            When `to_version` was never registered; VersionDeletedError when the model was deleted since.
        ApprovalRequiredError
            When a valid approval is missing.
        CandidateRejectedError
            When the gates rejected it, and the connection's role is not an operator's.
        PromotionHeldError
            When promotions of the model are held; with `by_name`, when the role is not an operator's.
        OlderDataError
            When its data end before those of the champion.
        PromotionConflictError
            When the champion was changed meanwhile; the message names who did.
        """
        version = self.version(model, to_version)
        row = {
            "model": model,
            "expected": expected_sequence,
            "to_version": to_version,
            "actor": actor,
            "reason": reason,
            "evidence_digest": evidence_digest,
            "by_name": by_name,
            "allow_older": allow_older,
        }
        try:
            with self._engine.begin() as connection:
                won = connection.execute(text(_PROMOTE), row).mappings().one_or_none()
                if won is not None and hold:
                    write_hold(connection, model, actor, reason)
        except IntegrityError as error:
            if "promotion_pkey" not in str(error.orig):
                raise
            won = None
        except DBAPIError as error:
            raise translate_error(error, version) from error
        if won is None:
            winner = next(each for each in self.promotions(model) if each.sequence > expected_sequence)
            raise PromotionConflictError(model, winner.sequence, winner.to_version, winner.actor)
        return Promotion.model_validate(dict(won))

    # -- deletions --------------------------------------------------------------------------------

    def deletions(self, model: str) -> tuple[ModelDeletion, ...]:
        """Return every deletion of `model`, oldest first."""
        with self._engine.connect() as connection:
            return read_deletions(connection, model)

    def deleted_versions(self) -> dict[str, int]:
        """Return the last deleted version of every model that was deleted."""
        statement = text("SELECT model, max(last_version) FROM sluice.model_deletion GROUP BY model")
        with self._engine.connect() as connection:
            return {str(model): int(version) for model, version in connection.execute(statement)}

    # -- partitions -------------------------------------------------------------------------------

    def published_partitions(self, model: str) -> tuple[PublishedPartition, ...]:
        """Return the current publication of each partition, oldest partition first."""
        statement = text("SELECT * FROM sluice.published_partition WHERE model = :model ORDER BY partition_start")
        with self._engine.connect() as connection:
            rows = connection.execute(statement, {"model": model})
            return tuple(PublishedPartition.model_validate(dict(row)) for row in rows.mappings())

    # -- one row ----------------------------------------------------------------------------------

    @staticmethod
    def _check_present(connection: Connection, version: ModelVersion) -> None:
        for deletion in read_deletions(connection, version.model):
            if deletion.last_version >= version.version:
                raise VersionDeletedError(version.model, version.version, str(deletion))

    @staticmethod
    def _of_origin(connection: Connection, model: str, origin_digest: str) -> ModelVersion | None:
        statement = text(
            f"{_VERSION} WHERE model = :model AND origin_digest = :origin AND {_PRESENT_VERSION}"
            " ORDER BY version DESC LIMIT 1"
        )
        row = connection.execute(statement, {"model": model, "origin": origin_digest}).mappings().one_or_none()
        return None if row is None else ModelVersion.model_validate(dict(row))

    @staticmethod
    def _one_version(connection: Connection, condition: str, model: str, key: int | str) -> ModelVersion | None:
        statement = text(f"{_VERSION} WHERE model = :model AND {condition}")
        row = connection.execute(statement, {"model": model, "key": key}).mappings().one_or_none()
        return None if row is None else ModelVersion.model_validate(dict(row))

    @staticmethod
    def _one_promotion(connection: Connection, condition: str, values: dict[str, Any]) -> Promotion | None:
        statement = text(f"{_PROMOTION} WHERE model = :model {condition} ORDER BY sequence DESC LIMIT 1")
        row = connection.execute(statement, values).mappings().one_or_none()
        return None if row is None else Promotion.model_validate(dict(row))
