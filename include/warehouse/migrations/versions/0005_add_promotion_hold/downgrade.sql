-- Takes back upgrade.sql: a promotion reads neither holds nor the data of the champion.

DROP FUNCTION sluice.promote(text, integer, integer, text, text, text, boolean, boolean);
CREATE FUNCTION sluice.promote(
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

COMMENT ON FUNCTION sluice.promote IS
    'Makes a version the champion if the highest sequence number is still the expected one, or if none is expected '
    '(0) and there is no champion; returns no row when it is not.';

ALTER TABLE sluice.model_version DROP COLUMN origin_digest;
DROP VIEW sluice.active_hold;
DROP TABLE sluice.promotion_hold;
DROP FUNCTION sluice.order_hold;
DROP FUNCTION sluice.lock_promotions;

REVOKE EXECUTE ON FUNCTION sluice.promote FROM PUBLIC;
DO $$
DECLARE
    wanted text;
BEGIN
    FOREACH wanted IN ARRAY ARRAY['sluice_trainer', 'sluice_operator'] LOOP
        IF EXISTS (SELECT FROM pg_roles WHERE rolname = wanted) THEN
            EXECUTE format('GRANT EXECUTE ON FUNCTION sluice.promote TO %I', wanted);
        END IF;
    END LOOP;
END $$;
