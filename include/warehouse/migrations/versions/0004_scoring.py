"""Scoring in shards: attempts with numbers, staging, what a publication says of itself, lineage, analysts."""

from alembic import op

from include.warehouse.migrations.roles import make_roles

revision = "0004"
down_revision = "0003"

TABLES = """
CREATE SCHEMA IF NOT EXISTS staging;
COMMENT ON SCHEMA staging IS 'Scores on their way to publication. Nobody reads here; what is dead is removed.';

ALTER TABLE sluice.partition_publication
    ADD COLUMN mode text NOT NULL DEFAULT 'champion' CHECK (mode IN ('champion', 'champion_then', 'named')),
    ADD COLUMN shards integer NOT NULL DEFAULT 1 CHECK (shards >= 1),
    ADD COLUMN attempt integer;
COMMENT ON COLUMN sluice.partition_publication.mode IS
    'Who scored: the champion of that moment, the champion of when the partition ended, or a named version';
COMMENT ON COLUMN sluice.partition_publication.attempt IS 'The attempt that published it, see sluice.score_attempt';

CREATE TABLE sluice.score_attempt (
    model            text        NOT NULL,
    partition_start  timestamptz NOT NULL,
    attempt          integer     NOT NULL CHECK (attempt >= 1),
    stage            text        NOT NULL CHECK (stage IN ('plan', 'shard', 'publish')),
    plan             integer     NOT NULL,
    shard            integer     CHECK (shard >= 0),
    run_id           text        NOT NULL,
    backend_pid      integer     NOT NULL,
    backend_start    timestamptz NOT NULL,
    started_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (model, partition_start, attempt),
    CHECK ((stage = 'shard') = (shard IS NOT NULL)),
    CHECK ((stage = 'plan') = (plan = attempt))
);
COMMENT ON TABLE sluice.score_attempt IS
    'Every attempt at a score partition. A newer plan fences all older attempts; a newer attempt at the same '
    'shard or publication of a plan fences the older one. Append-only.';
COMMENT ON COLUMN sluice.score_attempt.attempt IS 'Counted from 1 within the partition; its staging table ends in it';
COMMENT ON COLUMN sluice.score_attempt.plan IS 'The attempt that planned the work';
COMMENT ON COLUMN sluice.score_attempt.backend_pid IS
    'The server process of the one connection that it writes with: a successor ends it';
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON sluice.score_attempt
    FOR EACH STATEMENT EXECUTE FUNCTION sluice.refuse_change();

CREATE TABLE sluice.partition_removal (
    model            text        NOT NULL,
    partition_start  timestamptz NOT NULL,
    sequence            integer     NOT NULL,
    row_count        bigint      NOT NULL,
    reason           text        NOT NULL CHECK (reason <> ''),
    removed_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (model, partition_start, sequence),
    FOREIGN KEY (model, partition_start, sequence) REFERENCES sluice.partition_publication
);
COMMENT ON TABLE sluice.partition_removal IS
    'Publications whose rows were removed by retention. Append-only; the ledger keeps what was published.';
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON sluice.partition_removal
    FOR EACH STATEMENT EXECUTE FUNCTION sluice.refuse_change();
"""

# One statement of the client, and so one transaction that ends in the server by itself: a client that is stopped
# right after sending it leaves no lock behind. The lock is the one that publication takes.
FUNCTIONS = """
CREATE FUNCTION sluice.lock_score_partition(about_model text, about_start timestamptz) RETURNS void
LANGUAGE sql AS $$
    SELECT pg_advisory_xact_lock(hashtextextended(
        'sluice.score.' || about_model || '.' || extract(epoch FROM about_start), 0))
$$;
COMMENT ON FUNCTION sluice.lock_score_partition IS
    'Until the end of the transaction, nobody else takes a number for this partition or publishes it';

CREATE FUNCTION sluice.take_score_attempt(
    about_model text, about_start timestamptz, in_stage text, of_plan integer, of_shard integer, for_run text
) RETURNS integer LANGUAGE plpgsql SET lock_timeout = '3s' AS $$
DECLARE
    number integer;
BEGIN
    PERFORM sluice.lock_score_partition(about_model, about_start);
    IF in_stage <> 'plan' AND EXISTS (
        SELECT FROM sluice.score_attempt
        WHERE model = about_model AND partition_start = about_start AND stage = 'plan' AND attempt > of_plan
    ) THEN
        RETURN NULL;
    END IF;
    SELECT coalesce(max(attempt), 0) + 1 INTO number
    FROM sluice.score_attempt WHERE model = about_model AND partition_start = about_start;
    INSERT INTO sluice.score_attempt
        (model, partition_start, attempt, stage, plan, shard, run_id, backend_pid, backend_start)
    SELECT about_model, about_start, number, in_stage, coalesce(of_plan, number), of_shard, for_run, pid, backend_start
    FROM pg_stat_activity WHERE pid = pg_backend_pid();
    RETURN number;
END $$;
COMMENT ON FUNCTION sluice.take_score_attempt IS
    'Takes the next number for an attempt at a partition; null when a newer plan has fenced it';
"""

VIEWS = """
CREATE OR REPLACE VIEW sluice.published_partition AS
SELECT * FROM (
    SELECT DISTINCT ON (model, partition_start) *
    FROM sluice.partition_publication ORDER BY model, partition_start, sequence DESC
) AS newest
WHERE NOT EXISTS (
    SELECT FROM sluice.partition_removal AS retired
    WHERE (retired.model, retired.partition_start, retired.sequence)
        = (newest.model, newest.partition_start, newest.sequence)
);

CREATE VIEW sluice.score_lineage AS
SELECT published.model, published.partition_start, published.partition_end, published.sequence, published.row_count,
       published.rows_digest, published.run_id AS scored_by_run, published.published_at, published.mode,
       published.version, version.artifact_digest, version.spec_digest, version.data_digest,
       version.run_id AS trained_by_run, version.created_at AS registered_at,
       promotion.sequence AS promotion_sequence, promotion.actor AS promoted_by, promotion.reason AS promoted_because,
       promotion.promoted_at AS promoted_at, promotion.evidence_digest, version.evaluation, version.decision
FROM sluice.published_partition AS published
JOIN sluice.model_version AS version USING (model, version)
LEFT JOIN LATERAL (
    SELECT * FROM sluice.promotion
    WHERE promotion.model = published.model AND promotion.to_version = published.version
      AND promotion.promoted_at <= published.published_at
    ORDER BY promotion.sequence DESC LIMIT 1
) AS promotion ON true;
COMMENT ON VIEW sluice.score_lineage IS
    'Of each published partition: which version scored it, trained on which data, promoted by whom, on what evidence';
"""

RIGHTS = """
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'sluice_analyst') THEN
        GRANT USAGE ON SCHEMA scores, sluice TO sluice_analyst;
        GRANT SELECT ON ALL TABLES IN SCHEMA scores TO sluice_analyst;
        ALTER DEFAULT PRIVILEGES IN SCHEMA scores GRANT SELECT ON TABLES TO sluice_analyst;
        GRANT SELECT ON sluice.champion, sluice.champion_history, sluice.published_partition, sluice.score_lineage
            TO sluice_analyst;
    END IF;
END $$;
"""


def upgrade() -> None:
    """Make the schema, the tables, the functions and the views, and the role where that is allowed."""
    for block in (TABLES, FUNCTIONS, VIEWS, make_roles("sluice_analyst"), RIGHTS):
        op.execute(block.replace(":", "\\:"))


def downgrade() -> None:
    """Remove them; the role may be another database's too, and stays."""
    op.execute("DROP VIEW sluice.score_lineage, sluice.published_partition")
    op.execute("DROP FUNCTION sluice.take_score_attempt, sluice.lock_score_partition")
    op.execute("DROP TABLE sluice.partition_removal, sluice.score_attempt")
    op.execute("ALTER TABLE sluice.partition_publication DROP COLUMN mode, DROP COLUMN shards, DROP COLUMN attempt")
    op.execute(
        "CREATE VIEW sluice.published_partition AS SELECT DISTINCT ON (model, partition_start) * "
        "FROM sluice.partition_publication ORDER BY model, partition_start, sequence DESC"
    )
    op.execute("DROP SCHEMA staging CASCADE")
