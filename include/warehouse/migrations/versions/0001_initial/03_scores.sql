-- Partitions of scores: attempts to score them, their publications, and the removal of old ones.
-- The score tables themselves are made from a model's declaration when it is first scored.

CREATE TABLE sluice.partition_publication (
    model            text        NOT NULL,
    partition_start  timestamptz NOT NULL,
    partition_end    timestamptz NOT NULL,
    version          integer     NOT NULL,
    artifact_digest  text        NOT NULL,
    query_digest     text        NOT NULL,
    row_count        bigint      NOT NULL,
    rows_digest      text        NOT NULL,
    run_id           text        NOT NULL,
    sequence         integer     NOT NULL CHECK (sequence >= 1),
    published_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    mode             text        NOT NULL DEFAULT 'champion' CHECK (mode IN ('champion', 'champion_then', 'named')),
    shards           integer     NOT NULL DEFAULT 1 CHECK (shards >= 1),
    attempt          integer     NOT NULL,
    PRIMARY KEY (model, partition_start, sequence),
    FOREIGN KEY (model, version) REFERENCES sluice.model_version
);
COMMENT ON TABLE sluice.partition_publication IS
    'Every publication of a partition of scores, those that were replaced later too. Append-only.';
COMMENT ON COLUMN sluice.partition_publication.model IS 'The name of the model.';
COMMENT ON COLUMN sluice.partition_publication.partition_start IS 'Start of the partition.';
COMMENT ON COLUMN sluice.partition_publication.partition_end IS 'End of the partition; this moment is not included.';
COMMENT ON COLUMN sluice.partition_publication.version IS 'The version that scored the partition.';
COMMENT ON COLUMN sluice.partition_publication.artifact_digest IS
    'The digest of that version''s artifact, as it was verified before scoring.';
COMMENT ON COLUMN sluice.partition_publication.query_digest IS
    'SHA-256 of the `features.sql` that the rows were read with: that of the version, a file of its artifact.';
COMMENT ON COLUMN sluice.partition_publication.row_count IS 'The number of rows.';
COMMENT ON COLUMN sluice.partition_publication.rows_digest IS
    'A digest of the scores. Equal digests mean equal scores: the order of the rows, the shards and the time of '
    'scoring do not change it. It is `sum128:` and the sums of two 64-bit hashes of each row.';
COMMENT ON COLUMN sluice.partition_publication.run_id IS 'The run that published the partition.';
COMMENT ON COLUMN sluice.partition_publication.sequence IS
    'The number of the publication: 1, 2, 3, ... within the partition. Analysts read the highest.';
COMMENT ON COLUMN sluice.partition_publication.published_at IS 'When the partition was published.';
COMMENT ON COLUMN sluice.partition_publication.mode IS
    'How the version was chosen. `champion`: the champion at the time of scoring; `champion_then`: the champion at the '
    'end of the partition; `named`: a version that somebody named.';
COMMENT ON COLUMN sluice.partition_publication.shards IS 'The number of shards that the partition was scored in.';
COMMENT ON COLUMN sluice.partition_publication.attempt IS
    'The attempt that published the partition, see `sluice.score_attempt`.';
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON sluice.partition_publication
    FOR EACH STATEMENT EXECUTE FUNCTION sluice.refuse_change();

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
    try_number       integer     NOT NULL DEFAULT 1 CHECK (try_number >= 1),
    PRIMARY KEY (model, partition_start, attempt),
    CHECK ((stage = 'shard') = (shard IS NOT NULL)),
    CHECK ((stage = 'plan') = (plan = attempt))
);
COMMENT ON TABLE sluice.score_attempt IS
    'Every attempt to score or publish a partition. A newer plan fences all older attempts. A newer attempt at the '
    'same shard or publication of a plan fences the older one. A publication fences the shards of its plan. '
    'A fenced attempt can write nothing more. Append-only.';
COMMENT ON COLUMN sluice.score_attempt.model IS 'The name of the model.';
COMMENT ON COLUMN sluice.score_attempt.partition_start IS 'Start of the partition.';
COMMENT ON COLUMN sluice.score_attempt.attempt IS
    'The number of the attempt: 1, 2, 3, ... within the partition. The name of its table in `staging` ends in it.';
COMMENT ON COLUMN sluice.score_attempt.stage IS 'What the attempt does: `plan`, `shard` or `publish`.';
COMMENT ON COLUMN sluice.score_attempt.plan IS 'The number of the attempt that planned the work.';
COMMENT ON COLUMN sluice.score_attempt.shard IS
    'The number of the shard, counted from 0; null for a plan and a publication.';
COMMENT ON COLUMN sluice.score_attempt.run_id IS 'The run.';
COMMENT ON COLUMN sluice.score_attempt.backend_pid IS
    'The server process of the one connection that the attempt writes with. A newer attempt ends this process.';
COMMENT ON COLUMN sluice.score_attempt.backend_start IS 'When that server process started.';
COMMENT ON COLUMN sluice.score_attempt.started_at IS 'When the attempt started.';
COMMENT ON COLUMN sluice.score_attempt.try_number IS
    'The number of the try of its task, counted from 1. After a later try of the same run took a number, '
    'an earlier one gets none.';
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON sluice.score_attempt
    FOR EACH STATEMENT EXECUTE FUNCTION sluice.refuse_change();

CREATE TABLE sluice.partition_removal (
    model            text        NOT NULL,
    partition_start  timestamptz NOT NULL,
    sequence         integer     NOT NULL,
    row_count        bigint      NOT NULL,
    reason           text        NOT NULL CHECK (reason <> ''),
    removed_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (model, partition_start, sequence),
    FOREIGN KEY (model, partition_start, sequence) REFERENCES sluice.partition_publication
);
COMMENT ON TABLE sluice.partition_removal IS
    'Publications whose rows were removed, because they were old or by hand. Append-only.';
COMMENT ON COLUMN sluice.partition_removal.model IS 'The name of the model.';
COMMENT ON COLUMN sluice.partition_removal.partition_start IS 'Start of the partition.';
COMMENT ON COLUMN sluice.partition_removal.sequence IS
    'The sequence number of the publication; its row in `sluice.partition_publication` stays.';
COMMENT ON COLUMN sluice.partition_removal.row_count IS 'The number of rows that were removed.';
COMMENT ON COLUMN sluice.partition_removal.reason IS 'Why the rows were removed.';
COMMENT ON COLUMN sluice.partition_removal.removed_at IS 'When the rows were removed.';
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON sluice.partition_removal
    FOR EACH STATEMENT EXECUTE FUNCTION sluice.refuse_change();

-- Taking a number is one statement of the client, so the server ends its transaction: a client that is stopped right
-- after sending it leaves no lock behind. The lock is the one that publication takes.
CREATE FUNCTION sluice.lock_score_partition(model text, partition_start timestamptz) RETURNS void
LANGUAGE sql AS $$
    SELECT pg_advisory_xact_lock(hashtextextended(
        'sluice.score.' || model || '.' || extract(epoch FROM partition_start), 0))
$$;
COMMENT ON FUNCTION sluice.lock_score_partition IS
    'Until the transaction ends, nobody else takes a number for this partition or publishes it.';

CREATE FUNCTION sluice.take_score_attempt(
    model text, partition_start timestamptz, stage text, plan integer, shard integer, run_id text, try_number integer
) RETURNS integer LANGUAGE plpgsql SET lock_timeout = '3s' AS $$
#variable_conflict use_column
DECLARE
    number integer;
BEGIN
    PERFORM sluice.lock_score_partition(take_score_attempt.model, take_score_attempt.partition_start);
    IF take_score_attempt.stage <> 'plan' AND EXISTS (
        SELECT FROM sluice.score_attempt AS newer
        WHERE newer.model = take_score_attempt.model AND newer.partition_start = take_score_attempt.partition_start
          AND newer.stage = 'plan' AND newer.attempt > take_score_attempt.plan
    ) OR EXISTS (
        SELECT FROM sluice.score_attempt AS known
        WHERE known.model = take_score_attempt.model AND known.partition_start = take_score_attempt.partition_start
          AND known.run_id = take_score_attempt.run_id AND known.stage = take_score_attempt.stage
          AND known.shard IS NOT DISTINCT FROM take_score_attempt.shard
          AND known.plan = coalesce(take_score_attempt.plan, known.plan)
          AND known.try_number > take_score_attempt.try_number
    ) OR take_score_attempt.stage = 'shard' AND EXISTS (
        SELECT FROM sluice.partition_publication AS published
        WHERE published.model = take_score_attempt.model
          AND published.partition_start = take_score_attempt.partition_start
          AND published.attempt > take_score_attempt.plan
    ) THEN
        RETURN NULL;
    END IF;
    SELECT coalesce(max(known.attempt), 0) + 1 INTO number
    FROM sluice.score_attempt AS known
    WHERE known.model = take_score_attempt.model AND known.partition_start = take_score_attempt.partition_start;
    INSERT INTO sluice.score_attempt
        (model, partition_start, attempt, stage, plan, shard, run_id, backend_pid, backend_start, try_number)
    SELECT take_score_attempt.model, take_score_attempt.partition_start, number, take_score_attempt.stage,
           coalesce(take_score_attempt.plan, number), take_score_attempt.shard, take_score_attempt.run_id,
           activity.pid, activity.backend_start, take_score_attempt.try_number
    FROM pg_stat_activity AS activity WHERE activity.pid = pg_backend_pid();
    RETURN number;
END $$;
COMMENT ON FUNCTION sluice.take_score_attempt IS
    'Takes the next number for an attempt at a partition. Returns null when the attempt is fenced: by a newer plan, '
    'by a later try of the same task or, for a shard, by a publication.';

CREATE VIEW sluice.published_partition AS
SELECT * FROM (
    SELECT DISTINCT ON (model, partition_start) *
    FROM sluice.partition_publication ORDER BY model, partition_start, sequence DESC
) AS newest
WHERE NOT EXISTS (
    SELECT FROM sluice.partition_removal AS removed
    WHERE (removed.model, removed.partition_start, removed.sequence)
        = (newest.model, newest.partition_start, newest.sequence)
);
COMMENT ON VIEW sluice.published_partition IS
    'The publication of each partition that analysts read now. Removed partitions are not in it.';
COMMENT ON COLUMN sluice.published_partition.model IS 'The name of the model.';
COMMENT ON COLUMN sluice.published_partition.partition_start IS 'Start of the partition.';
COMMENT ON COLUMN sluice.published_partition.partition_end IS 'End of the partition; this moment is not included.';
COMMENT ON COLUMN sluice.published_partition.version IS 'The version that scored the partition.';
COMMENT ON COLUMN sluice.published_partition.artifact_digest IS 'The digest of that version''s artifact.';
COMMENT ON COLUMN sluice.published_partition.query_digest IS
    'SHA-256 of the `features.sql` that the rows were read with.';
COMMENT ON COLUMN sluice.published_partition.row_count IS 'The number of rows.';
COMMENT ON COLUMN sluice.published_partition.rows_digest IS 'A digest of the scores: equal digests mean equal scores.';
COMMENT ON COLUMN sluice.published_partition.run_id IS 'The run that published the partition.';
COMMENT ON COLUMN sluice.published_partition.sequence IS 'How many times the partition was published.';
COMMENT ON COLUMN sluice.published_partition.published_at IS 'When the partition was published.';
COMMENT ON COLUMN sluice.published_partition.mode IS
    'How the version was chosen, see `sluice.partition_publication`.';
COMMENT ON COLUMN sluice.published_partition.shards IS 'The number of shards that the partition was scored in.';
COMMENT ON COLUMN sluice.published_partition.attempt IS 'The attempt that published the partition.';

-- In the mode champion_then the promotion is the one in force at the end of the partition, whatever came later.
CREATE VIEW sluice.score_lineage AS
SELECT published.model, published.partition_start, published.partition_end, published.sequence, published.row_count,
       published.rows_digest, published.run_id AS scored_by_run, published.published_at, published.mode,
       published.version, version.artifact_digest, published.query_digest, version.spec_digest, version.data_digest,
       version.run_id AS trained_by_run, version.created_at AS registered_at,
       promotion.sequence AS promotion_sequence, promotion.actor AS promoted_by, promotion.reason AS promotion_reason,
       promotion.promoted_at, promotion.evidence_digest, version.evaluation, version.decision
FROM sluice.published_partition AS published
JOIN sluice.model_version AS version USING (model, version)
LEFT JOIN LATERAL (
    SELECT * FROM sluice.promotion
    WHERE promotion.model = published.model AND promotion.to_version = published.version
      AND promotion.promoted_at
          <= CASE published.mode WHEN 'champion_then' THEN published.partition_end ELSE published.published_at END
    ORDER BY promotion.sequence DESC LIMIT 1
) AS promotion ON true;
COMMENT ON VIEW sluice.score_lineage IS
    'Where the scores of each published partition come from: the version that scored it, the data that the version was '
    'trained on, who promoted it and on what evidence. The promotion is the last one of that version before the '
    'publication or, in the mode `champion_then`, before the end of the partition; its columns are null when '
    'the version was never promoted.';
COMMENT ON COLUMN sluice.score_lineage.model IS 'The name of the model.';
COMMENT ON COLUMN sluice.score_lineage.partition_start IS 'Start of the partition.';
COMMENT ON COLUMN sluice.score_lineage.partition_end IS 'End of the partition; this moment is not included.';
COMMENT ON COLUMN sluice.score_lineage.sequence IS 'How many times the partition was published.';
COMMENT ON COLUMN sluice.score_lineage.row_count IS 'The number of rows.';
COMMENT ON COLUMN sluice.score_lineage.rows_digest IS 'A digest of the scores: equal digests mean equal scores.';
COMMENT ON COLUMN sluice.score_lineage.scored_by_run IS 'The run that published the partition.';
COMMENT ON COLUMN sluice.score_lineage.published_at IS 'When the partition was published.';
COMMENT ON COLUMN sluice.score_lineage.mode IS 'How the version was chosen, see `sluice.partition_publication`.';
COMMENT ON COLUMN sluice.score_lineage.version IS 'The version that scored the partition.';
COMMENT ON COLUMN sluice.score_lineage.artifact_digest IS 'The digest of that version''s artifact.';
COMMENT ON COLUMN sluice.score_lineage.query_digest IS
    'SHA-256 of the `features.sql` that the rows were read with: that of the version.';
COMMENT ON COLUMN sluice.score_lineage.spec_digest IS 'SHA-256 of the `spec.py` and `features.sql` it was trained with.';
COMMENT ON COLUMN sluice.score_lineage.data_digest IS 'SHA-256 of the snapshot of data that it was trained on.';
COMMENT ON COLUMN sluice.score_lineage.trained_by_run IS 'The run that made the version.';
COMMENT ON COLUMN sluice.score_lineage.registered_at IS 'When the version was registered.';
COMMENT ON COLUMN sluice.score_lineage.promotion_sequence IS 'The sequence number of the promotion.';
COMMENT ON COLUMN sluice.score_lineage.promoted_by IS 'Who promoted the version.';
COMMENT ON COLUMN sluice.score_lineage.promotion_reason IS 'Why the version was promoted.';
COMMENT ON COLUMN sluice.score_lineage.promoted_at IS 'When the version was promoted.';
COMMENT ON COLUMN sluice.score_lineage.evidence_digest IS 'SHA-256 of the evidence that the promotion was based on.';
COMMENT ON COLUMN sluice.score_lineage.evaluation IS 'How good the version was, see `sluice.model_version`.';
COMMENT ON COLUMN sluice.score_lineage.decision IS 'What the gates decided, see `sluice.model_version`.';
