-- Deleted models. A version, promotion or publication up to the last of a deletion is history: it is not champion, not
-- published, and cannot be promoted, approved, published again or run in shadow.

CREATE TABLE sluice.model_deletion (
    model          text        NOT NULL,
    last_version   integer     NOT NULL CHECK (last_version >= 0),
    last_sequence  integer     NOT NULL CHECK (last_sequence >= 0),
    actor          text        NOT NULL CHECK (actor <> ''),
    reason         text        NOT NULL CONSTRAINT reason_is_given CHECK (
        char_length(btrim(reason, E' \t\n\r\f\x0b\u00a0\u2007\u200b\u202f\u2060\u3000\ufeff')) >= 10
        AND reason = btrim(reason, E' \t\n\r\f\x0b\u00a0\u2007\u200b\u202f\u2060\u3000\ufeff')),
    deleted_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (model, last_version)
);
COMMENT ON TABLE sluice.model_deletion IS
    'Models that were deleted (`sluice delete`). Their versions and promotions stay in the ledger, and count no more. '
    'A model that is declared again has the next numbers. Append-only.';
COMMENT ON COLUMN sluice.model_deletion.model IS 'The name of the model.';
COMMENT ON COLUMN sluice.model_deletion.last_version IS
    'The newest version at that moment; 0 when there was none. This version and earlier ones are deleted.';
COMMENT ON COLUMN sluice.model_deletion.last_sequence IS
    'The highest sequence number of a promotion at that moment; 0 when there was none.';
COMMENT ON COLUMN sluice.model_deletion.actor IS 'Who deleted the model.';
COMMENT ON COLUMN sluice.model_deletion.reason IS 'Why the model was deleted.';
COMMENT ON COLUMN sluice.model_deletion.deleted_at IS 'When the model was deleted.';

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON sluice.model_deletion
    FOR EACH STATEMENT EXECUTE FUNCTION sluice.refuse_change();
-- The services read the champions again, and find none.
CREATE TRIGGER announce AFTER INSERT ON sluice.model_deletion
    FOR EACH ROW EXECUTE FUNCTION sluice.announce_promotion();

CREATE FUNCTION sluice.check_not_deleted(model text, version integer) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- A deletion holds this lock until its transaction ends; the statement after it sees the deletion.
    PERFORM pg_advisory_xact_lock_shared(hashtextextended('sluice.deletion.' || check_not_deleted.model, 0));
    IF EXISTS (
        SELECT FROM sluice.model_deletion AS deletion
        WHERE deletion.model = check_not_deleted.model AND deletion.last_version >= check_not_deleted.version
    ) THEN
        RAISE EXCEPTION 'version % of % was deleted', check_not_deleted.version, check_not_deleted.model
            USING ERRCODE = 'SL004';
    END IF;
END $$;
COMMENT ON FUNCTION sluice.check_not_deleted IS
    'Refuses a version of a deleted model. Until the transaction ends, the model cannot be deleted.';

CREATE FUNCTION sluice.refuse_deleted() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM sluice.check_not_deleted(NEW.model, (to_jsonb(NEW) ->> TG_ARGV[0])::integer);
    RETURN NEW;
END $$;
COMMENT ON FUNCTION sluice.refuse_deleted IS
    'The trigger of tables with decisions on versions: refuses a version of a deleted model. Its argument is the name '
    'of the column with the version.';
CREATE TRIGGER check_not_deleted BEFORE INSERT ON sluice.promotion
    FOR EACH ROW EXECUTE FUNCTION sluice.refuse_deleted('to_version');
CREATE TRIGGER check_not_deleted BEFORE INSERT ON sluice.partition_publication
    FOR EACH ROW EXECUTE FUNCTION sluice.refuse_deleted('version');
CREATE TRIGGER check_not_deleted BEFORE INSERT ON sluice.approval
    FOR EACH ROW EXECUTE FUNCTION sluice.refuse_deleted('version');
CREATE TRIGGER check_not_deleted BEFORE INSERT ON sluice.shadow_assignment
    FOR EACH ROW EXECUTE FUNCTION sluice.refuse_deleted('version');
REVOKE EXECUTE ON FUNCTION sluice.check_not_deleted, sluice.refuse_deleted FROM PUBLIC;

CREATE OR REPLACE VIEW sluice.champion AS
SELECT DISTINCT ON (model) model, to_version AS version, sequence, actor, reason, promoted_at AS since
FROM sluice.promotion
WHERE sequence > coalesce((SELECT max(deletion.last_sequence) FROM sluice.model_deletion AS deletion
                           WHERE deletion.model = promotion.model), 0)
ORDER BY model, sequence DESC;

CREATE OR REPLACE VIEW sluice.champion_history AS
SELECT model, to_version AS version, sequence, actor, reason, promoted_at AS from_time,
       -- LEAST ignores nulls.
       least(lead(promoted_at) OVER (PARTITION BY model ORDER BY sequence),
             (SELECT min(deletion.deleted_at) FROM sluice.model_deletion AS deletion
              WHERE deletion.model = promotion.model AND deletion.last_sequence >= promotion.sequence)) AS until_time
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
)
AND newest.version > coalesce((SELECT max(deletion.last_version) FROM sluice.model_deletion AS deletion
                               WHERE deletion.model = newest.model), 0);

CREATE OR REPLACE FUNCTION sluice.approval_is_needed(model text, version integer) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT EXISTS (
        SELECT FROM sluice.model_version AS known
        WHERE known.model = approval_is_needed.model AND known.needs_approval AND known.version > greatest(
            (SELECT max(waiver.after_version) FROM sluice.approval_waiver AS waiver
             WHERE waiver.model = approval_is_needed.model),
            (SELECT max(deletion.last_version) FROM sluice.model_deletion AS deletion
             WHERE deletion.model = approval_is_needed.model),
            0)
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
    PERFORM sluice.check_not_deleted(promote.model, promote.version);
    IF NOT sluice.may_operate() AND NOT EXISTS (
        SELECT FROM sluice.model_version AS known
        WHERE known.model = promote.model AND known.version = promote.version
          AND (known.decision ->> 'accepted')::boolean
    ) THEN
        RAISE EXCEPTION 'the gates did not accept it, and only an operator may promote it all the same'
            USING ERRCODE = 'SL002';
    END IF;
    -- The row is built from the very row that the caller read: a sequence number that is no longer the highest
    -- inserts nothing, and two promoters who read the same one meet at the primary key. After a deletion there is no
    -- champion to read, so the caller expects 0; the numbers continue.
    RETURN QUERY
    INSERT INTO sluice.promotion AS made (model, sequence, from_version, to_version, actor, reason, evidence_digest)
    SELECT promote.model, newest.sequence + 1,
           (SELECT former.to_version FROM sluice.promotion AS former
            WHERE former.model = promote.model AND former.sequence = promote.expected_sequence),
           promote.version, promote.actor, promote.reason, promote.evidence_digest
    FROM (SELECT coalesce(max(former.sequence), 0) AS sequence FROM sluice.promotion AS former
          WHERE former.model = promote.model) AS newest,
         (SELECT coalesce(max(known.last_sequence), 0) AS last_sequence FROM sluice.model_deletion AS known
          WHERE known.model = promote.model) AS deletion
    WHERE promote.expected_sequence
        = CASE WHEN newest.sequence > deletion.last_sequence THEN newest.sequence ELSE 0 END
    RETURNING made.*;
END $$;

COMMENT ON VIEW sluice.champion IS 'The current champion of each model. A deleted model has none.';
COMMENT ON COLUMN sluice.champion_history.until_time IS
    'When the next champion replaced it, or the model was deleted (this moment is not included); null for the current '
    'champion.';
COMMENT ON VIEW sluice.published_partition IS
    'The publication of each partition that analysts read now. Removed partitions, and those of deleted models, are '
    'not in it.';
COMMENT ON FUNCTION sluice.promote IS
    'Makes a version the champion if the highest sequence number is still the expected one, or if none is expected '
    '(0) and there is no champion; returns no row when it is not.';
COMMENT ON COLUMN sluice.approval.champion_sequence IS
    'The highest sequence number of the model''s promotions at that moment; 0 when there was none. '
    'After another promotion the approval is void.';

DO $$
DECLARE
    wanted text;
BEGIN
    FOREACH wanted IN ARRAY ARRAY['sluice_reader', 'sluice_trainer', 'sluice_approver', 'sluice_operator'] LOOP
        IF EXISTS (SELECT FROM pg_roles WHERE rolname = wanted) THEN
            EXECUTE format('GRANT SELECT ON sluice.model_deletion TO %I', wanted);
        END IF;
    END LOOP;
END $$;
