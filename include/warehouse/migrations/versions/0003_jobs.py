"""Jobs of asynchronous prediction, and what the service's roles may do."""

from alembic import op

from include.warehouse.migrations.roles import make_roles

revision = "0003"
down_revision = "0002"

TABLES = """
CREATE TABLE sluice.job (
    id               uuid        PRIMARY KEY,
    model            text        NOT NULL,
    version          integer     NOT NULL,
    artifact_digest  text        NOT NULL,
    subject          text        NOT NULL,
    state            text        NOT NULL DEFAULT 'queued'
                     CHECK (state IN ('queued', 'running', 'done', 'failed', 'cancelled')),
    row_count        integer     NOT NULL CHECK (row_count >= 1),
    rows_done        integer     NOT NULL DEFAULT 0,
    attempt          integer     NOT NULL DEFAULT 0,
    lease_until      timestamptz,
    error            jsonb,
    submitted_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    started_at       timestamptz,
    finished_at      timestamptz,
    expires_at       timestamptz NOT NULL,
    FOREIGN KEY (model, version) REFERENCES sluice.model_version
);
CREATE INDEX ON sluice.job (submitted_at) WHERE state IN ('queued', 'running');
CREATE INDEX ON sluice.job (expires_at);
COMMENT ON TABLE sluice.job IS 'Asynchronous predictions. Removed with their rows when they expire.';
COMMENT ON COLUMN sluice.job.subject IS 'Who asked, and alone may see it';
COMMENT ON COLUMN sluice.job.attempt IS 'How often it was taken: who holds an older attempt writes nothing more';
COMMENT ON COLUMN sluice.job.lease_until IS 'While running: when another worker may take it';

CREATE TABLE sluice.job_chunk (
    job        uuid    NOT NULL REFERENCES sluice.job ON DELETE CASCADE,
    first_row  integer NOT NULL,
    row_count  integer NOT NULL CHECK (row_count >= 1),
    body       bytea   NOT NULL,
    answers    bytea,
    PRIMARY KEY (job, first_row)
);
COMMENT ON TABLE sluice.job_chunk IS 'The rows of a job in parts, each with its answers once it is done';
-- They are written once, read once or twice and removed: compressing them would cost more than it saves.
ALTER TABLE sluice.job_chunk ALTER body SET STORAGE EXTERNAL, ALTER answers SET STORAGE EXTERNAL;
"""

# Whoever runs the service is made a member of these roles.
RIGHTS = """
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'sluice_reader') THEN
        GRANT USAGE ON SCHEMA scores, sluice TO sluice_reader;
        GRANT SELECT ON ALL TABLES IN SCHEMA scores TO sluice_reader;
        ALTER DEFAULT PRIVILEGES IN SCHEMA scores GRANT SELECT ON TABLES TO sluice_reader;
        GRANT SELECT ON sluice.model_version, sluice.promotion, sluice.partition_publication, sluice.champion,
            sluice.champion_history, sluice.published_partition TO sluice_reader;
    END IF;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'sluice_worker') THEN
        GRANT USAGE ON SCHEMA sluice TO sluice_worker;
        GRANT SELECT, INSERT, UPDATE, DELETE ON sluice.job, sluice.job_chunk TO sluice_worker;
    END IF;
END $$;
"""


def upgrade() -> None:
    """Make the tables, and the roles where that is allowed."""
    for block in (TABLES, make_roles("sluice_reader", "sluice_worker"), RIGHTS):
        op.execute(block.replace(":", "\\:"))


def downgrade() -> None:
    """Remove the tables; the roles may be another database's too, and stay."""
    op.execute("DROP TABLE sluice.job_chunk, sluice.job")
