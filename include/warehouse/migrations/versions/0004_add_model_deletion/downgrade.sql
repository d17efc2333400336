-- Takes back upgrade.sql: the views and functions are again those of before.

DROP TRIGGER check_not_deleted ON sluice.promotion;
DROP TRIGGER check_not_deleted ON sluice.partition_publication;
DROP TRIGGER check_not_deleted ON sluice.approval;
DROP TRIGGER check_not_deleted ON sluice.shadow_assignment;

CREATE OR REPLACE VIEW sluice.champion AS
SELECT DISTINCT ON (model) model, to_version AS version, sequence, actor, reason, promoted_at AS since
FROM sluice.promotion ORDER BY model, sequence DESC;

CREATE OR REPLACE VIEW sluice.champion_history AS
SELECT model, to_version AS version, sequence, actor, reason, promoted_at AS from_time,
       lead(promoted_at) OVER (PARTITION BY model ORDER BY sequence) AS until_time
FROM sluice.promotion;

CREATE OR REPLACE VIEW sluice.published_partition AS
SELECT * FROM (
    SELECT DISTINCT ON (model, partition_start) *
    FROM sluice.partition_publication ORDER BY model, partition_start, sequence DESC
) AS newest
WHERE NOT EXISTS (
    SELECT FROM sluice.partition_removal AS removed
    WHERE (removed.model, removed.partition_start, removed.sequence)
        = (newest.model, newest.partition_start, newest.sequence)
);

CREATE OR REPLACE FUNCTION sluice.approval_is_needed(model text, version integer) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT EXISTS (
        SELECT FROM sluice.model_version AS known
        WHERE known.model = approval_is_needed.model AND known.needs_approval AND known.version > coalesce(
            (SELECT max(waiver.after_version) FROM sluice.approval_waiver AS waiver
             WHERE waiver.model = approval_is_needed.model), 0)
    ) AND NOT EXISTS (
        SELECT FROM sluice.promotion AS former
        WHERE former.model = approval_is_needed.model AND former.to_version = approval_is_needed.version
    )
$$;

CREATE OR REPLACE FUNCTION sluice.promote(
    model text, version integer, expected_sequence integer, actor text, reason text, evidence_digest text
) RETURNS SETOF sluice.promotion
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    IF NOT sluice.may_operate() AND NOT EXISTS (
        SELECT FROM sluice.model_version AS known
        WHERE known.model = promote.model AND known.version = promote.version
          AND (known.decision ->> 'accepted')::boolean
    ) THEN
        RAISE EXCEPTION 'the gates did not accept it, and only an operator may promote it all the same'
            USING ERRCODE = 'SL002';
    END IF;
    -- The row is built from the very row that the caller read: a sequence number that is no longer the highest
    -- inserts nothing, and two promoters who read the same one meet at the primary key.
    RETURN QUERY
    INSERT INTO sluice.promotion AS made (model, sequence, from_version, to_version, actor, reason, evidence_digest)
    SELECT promote.model, promote.expected_sequence + 1,
           (SELECT former.to_version FROM sluice.promotion AS former
            WHERE former.model = promote.model AND former.sequence = promote.expected_sequence),
           promote.version, promote.actor, promote.reason, promote.evidence_digest
    WHERE promote.expected_sequence = (SELECT coalesce(max(former.sequence), 0) FROM sluice.promotion AS former
                                       WHERE former.model = promote.model)
    RETURNING made.*;
END $$;

COMMENT ON VIEW sluice.champion IS 'The current champion of each model.';
COMMENT ON COLUMN sluice.champion_history.until_time IS
    'When the next champion replaced it (this moment is not included); null for the current champion.';
COMMENT ON VIEW sluice.published_partition IS
    'The publication of each partition that analysts read now. Removed partitions are not in it.';
COMMENT ON FUNCTION sluice.promote IS
    'Makes a version the champion if the highest sequence number is still the expected one; '
    'returns no row when it is not.';
COMMENT ON COLUMN sluice.approval.champion_sequence IS
    'The sequence number of the champion''s promotion at that moment, or 0 when there was no champion. '
    'After another promotion the approval is void.';

DROP FUNCTION sluice.refuse_deleted;
DROP FUNCTION sluice.check_not_deleted;
DROP TABLE sluice.model_deletion;
