"""Signed statements of people on tests of the ML Test Score."""

from __future__ import annotations

from sqlalchemy import Engine, text

from include.errors import SettingsError, SignatureError
from include.records import Attestation
from include.signing import Keyring


class Attestations:
    """The append-only table ``sluice.attestation``.

    Parameters
    ----------
    engine : sqlalchemy.Engine
    keys : Keyring
        The key that signs, and the keys that are trusted.
    """

    def __init__(self, engine: Engine, keys: Keyring) -> None:
        self._engine = engine
        self._keys = keys

    def add(self, attestation: Attestation) -> Attestation:
        """Sign a statement and store it; SettingsError when there is no key that signs."""
        signature = self._keys.signer().sign(attestation.signed_text).decode()
        signed = attestation.model_copy(update={"signature": signature})
        with self._engine.begin() as connection:
            connection.execute(
                text(
                    "INSERT INTO sluice.attestation (model, test, statement, actor, attested_at, signature)"
                    " VALUES (:model, :test, :statement, :actor, :attested_at, cast(:signature AS jsonb))"
                ),
                signed.model_dump(),
            )
        return signed

    def newest(self, model: str) -> dict[str, Attestation]:
        """Return the newest statement on each test, even if it is not valid; none of before a deletion of the model."""
        statement = text(
            "SELECT DISTINCT ON (test) model, test, statement, actor, attested_at, signature::text AS signature"
            " FROM sluice.attestation WHERE model = :model AND attested_at > coalesce("
            "(SELECT max(deleted_at) FROM sluice.model_deletion WHERE model = :model), '-infinity')"
            " ORDER BY test, id DESC"
        )
        with self._engine.connect() as connection:
            rows = connection.execute(statement, {"model": model}).mappings()
            return {row["test"]: Attestation.model_validate(dict(row)) for row in rows}

    def verify(self, attestation: Attestation) -> str | None:
        """Return the reason why a statement is not valid; None when a trusted key signed it."""
        thing = f"the statement on {attestation.test} of '{attestation.model}' in sluice.attestation"
        try:
            self._keys.verify(attestation.signed_text, attestation.signature.encode(), thing=thing)
        except (SignatureError, SettingsError) as error:
            return str(error)
        return None
