"""Statements of people on the ML Test Score."""

from alembic import op

revision = "0005"
down_revision = "0004"

TABLE = """
CREATE TABLE sluice.attestation (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    model      text        NOT NULL,
    test       text        NOT NULL CHECK (test <> ''),
    statement  text        NOT NULL CHECK (statement <> ''),
    actor      text        NOT NULL CHECK (actor <> ''),
    attested_at timestamptz NOT NULL,
    signature  jsonb       NOT NULL
);
CREATE INDEX ON sluice.attestation (model, test);
COMMENT ON TABLE sluice.attestation IS
    'Statements that a test of the ML Test Score holds for a model, done by hand. They count half. Append-only.';
COMMENT ON COLUMN sluice.attestation.signature IS
    'Ed25519 over the statement, who made it and when; a statement counts only while its key is trusted';
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON sluice.attestation
    FOR EACH STATEMENT EXECUTE FUNCTION sluice.refuse_change();
"""


def upgrade() -> None:
    """Create what is described above."""
    op.execute(TABLE)


def downgrade() -> None:
    """Remove it."""
    op.execute("DROP TABLE sluice.attestation")
