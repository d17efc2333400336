"""The watch on parity: what the running service answered beside what was scored."""

from alembic import op

revision = "0006"
down_revision = "0005"

TABLES = """
CREATE TABLE sluice.parity_check (
    id               bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    model            text        NOT NULL,
    partition_start  timestamptz NOT NULL,
    version          integer     NOT NULL,
    artifact_digest  text        NOT NULL,
    run_id           text        NOT NULL,
    verdict          text        NOT NULL CHECK (verdict IN ('equal', 'differs', 'not_checked')),
    row_count        integer     NOT NULL,
    differing        integer     NOT NULL,
    largest_ulp      bigint      NOT NULL,
    allowed_ulp      bigint      NOT NULL,
    service          text        NOT NULL,
    reason           text,
    published        boolean     NOT NULL,
    checked_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    FOREIGN KEY (model, version) REFERENCES sluice.model_version
);
CREATE INDEX ON sluice.parity_check (model, partition_start);
COMMENT ON TABLE sluice.parity_check IS
    'A sample of a partition, asked of the running service with the version that scored it. Append-only.';
COMMENT ON COLUMN sluice.parity_check.row_count IS 'Rows that were asked; 0 when the service could not be asked';
COMMENT ON COLUMN sluice.parity_check.differing IS 'Rows of which an answer was not the very number of the table';
COMMENT ON COLUMN sluice.parity_check.largest_ulp IS
    'Greatest distance of two numbers, in units of the last place of single precision; 0: the same bits';
COMMENT ON COLUMN sluice.parity_check.published IS 'Whether the rows were published when they were checked';
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON sluice.parity_check
    FOR EACH STATEMENT EXECUTE FUNCTION sluice.refuse_change();
"""


def upgrade() -> None:
    """Make the table."""
    op.execute(TABLES.replace(":", "\\:"))


def downgrade() -> None:
    """Remove it."""
    op.execute("DROP TABLE sluice.parity_check")
