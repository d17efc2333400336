"""The ledger, and what the stages keep beside it."""

from alembic import op

revision = "0001"
down_revision = None

TABLES = """
CREATE SCHEMA IF NOT EXISTS source;
CREATE SCHEMA IF NOT EXISTS scores;
CREATE SCHEMA IF NOT EXISTS sluice;

CREATE TABLE sluice.model_version (
    model            text        NOT NULL,
    version          integer     NOT NULL CHECK (version >= 1),
    artifact_digest  text        NOT NULL,
    spec_digest      text        NOT NULL,
    data_digest      text        NOT NULL,
    run_id           text        NOT NULL,
    evaluation       jsonb       NOT NULL,
    decision         jsonb       NOT NULL,
    created_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (model, version),
    UNIQUE (model, run_id)
);
COMMENT ON TABLE sluice.model_version IS 'Every version ever registered, accepted or rejected. Append-only.';
COMMENT ON COLUMN sluice.model_version.artifact_digest IS
    'SHA-256 of the manifest, which holds the SHA-256 of each file';
COMMENT ON COLUMN sluice.model_version.spec_digest IS 'SHA-256 of spec.py and features.sql';
COMMENT ON COLUMN sluice.model_version.data_digest IS 'SHA-256 of the snapshot that it was trained and judged on';
COMMENT ON COLUMN sluice.model_version.decision IS 'The gates with figure, bound, verdict and sentence';

CREATE TABLE sluice.promotion (
    model            text        NOT NULL,
    sequence            integer     NOT NULL CHECK (sequence >= 1),
    from_version     integer,
    to_version       integer     NOT NULL,
    actor            text        NOT NULL CHECK (actor <> ''),
    reason           text        NOT NULL CHECK (reason <> ''),
    evidence_digest  text        NOT NULL,
    promoted_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (model, sequence),
    FOREIGN KEY (model, to_version) REFERENCES sluice.model_version,
    FOREIGN KEY (model, from_version) REFERENCES sluice.model_version
);
COMMENT ON TABLE sluice.promotion IS 'Every move of a champion. The highest sequence number of a model is in force. Append-only.';

CREATE TABLE sluice.partition_publication (
    model            text        NOT NULL,
    partition_start  timestamptz NOT NULL,
    partition_end    timestamptz NOT NULL,
    version          integer     NOT NULL,
    artifact_digest  text        NOT NULL,
    row_count        bigint      NOT NULL,
    rows_digest      text        NOT NULL,
    run_id           text        NOT NULL,
    sequence            integer     NOT NULL CHECK (sequence >= 1),
    published_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (model, partition_start, sequence),
    FOREIGN KEY (model, version) REFERENCES sluice.model_version
);
COMMENT ON TABLE sluice.partition_publication IS
    'Every publication of a score partition. The highest sequence number of a partition is what analysts read. Append-only.';

CREATE TABLE sluice.validation_result (
    id               bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    model            text        NOT NULL,
    run_id           text        NOT NULL,
    purpose          text        NOT NULL CHECK (purpose IN ('train', 'score')),
    period_start     timestamptz NOT NULL,
    period_end       timestamptz NOT NULL,
    expectation      text        NOT NULL,
    column_name      text,
    passed           boolean     NOT NULL,
    sentence         text        NOT NULL,
    observed         text,
    failing_count    bigint      NOT NULL DEFAULT 0,
    offending_keys   text[]      NOT NULL DEFAULT '{}',
    docs_path        text,
    checked_at       timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX ON sluice.validation_result (model, run_id);
COMMENT ON COLUMN sluice.validation_result.offending_keys IS 'Up to 20 entity keys of failing rows';

CREATE TABLE sluice.alert (
    id               bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    model            text,
    dag_id           text        NOT NULL,
    task_id          text,
    run_id           text        NOT NULL,
    try_number       integer,
    error            text        NOT NULL,
    log_url          text,
    raised_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    channels         text[]      NOT NULL DEFAULT '{}',
    delivered        boolean     NOT NULL DEFAULT false
);
CREATE INDEX ON sluice.alert (raised_at);
"""

VIEWS = """
CREATE VIEW sluice.champion AS
SELECT DISTINCT ON (model) model, to_version AS version, sequence, actor, reason, promoted_at AS since
FROM sluice.promotion ORDER BY model, sequence DESC;
COMMENT ON VIEW sluice.champion IS 'The version of each model that is in force now';

CREATE VIEW sluice.champion_history AS
SELECT model, to_version AS version, sequence, actor, reason, promoted_at AS from_time,
       lead(promoted_at) OVER (PARTITION BY model ORDER BY sequence) AS until_time
FROM sluice.promotion;
COMMENT ON VIEW sluice.champion_history IS
    'Which version was champion when: from_time <= T and (until_time is null or T < until_time)';

CREATE VIEW sluice.published_partition AS
SELECT DISTINCT ON (model, partition_start) *
FROM sluice.partition_publication ORDER BY model, partition_start, sequence DESC;
COMMENT ON VIEW sluice.published_partition IS 'The publication of each partition that analysts read now';
"""

# The ledger's promise is kept by the database itself, whoever writes: rows are never changed or
# removed, and every promotion is announced to the services that listen.
TRIGGERS = """
CREATE FUNCTION sluice.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'sluice.% is append-only: % refused. Roll back by promoting an older version.',
        TG_TABLE_NAME, TG_OP;
END $$;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON sluice.model_version
    FOR EACH STATEMENT EXECUTE FUNCTION sluice.refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON sluice.promotion
    FOR EACH STATEMENT EXECUTE FUNCTION sluice.refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON sluice.partition_publication
    FOR EACH STATEMENT EXECUTE FUNCTION sluice.refuse_change();

CREATE FUNCTION sluice.announce_promotion() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('sluice_promotion', NEW.model);
    RETURN NULL;
END $$;
CREATE TRIGGER announce AFTER INSERT ON sluice.promotion
    FOR EACH ROW EXECUTE FUNCTION sluice.announce_promotion();
"""


def upgrade() -> None:
    """Make the three schemas and everything in schema ``sluice``."""
    for block in (TABLES, VIEWS, TRIGGERS):
        op.execute(block.replace(":", "\\:"))


def downgrade() -> None:
    """Remove schema ``sluice``; the users' tables and the scores stay."""
    op.execute("DROP SCHEMA sluice CASCADE")
