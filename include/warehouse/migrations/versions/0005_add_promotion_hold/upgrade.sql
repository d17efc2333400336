-- Holds: while one is in force, a retrain registers and judges, and promotes nothing. A promotion reads the hold, and
-- the data of the champion, in the transaction that promotes.

CREATE TABLE sluice.promotion_hold (
    id          bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    model       text        NOT NULL CHECK (model <> ''),
    held        boolean     NOT NULL,
    held_until  timestamptz,
    actor       text        NOT NULL CHECK (actor <> ''),
    reason      text        NOT NULL CONSTRAINT reason_is_given CHECK (
        char_length(btrim(reason, E' \t\n\r\f\x0b\u00a0\u2007\u200b\u202f\u2060\u3000\ufeff')) >= 10
        AND reason = btrim(reason, E' \t\n\r\f\x0b\u00a0\u2007\u200b\u202f\u2060\u3000\ufeff')),
    set_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT ends_later CHECK (held_until > set_at),
    CONSTRAINT only_a_hold_ends CHECK (held OR held_until IS NULL)
);
CREATE INDEX ON sluice.promotion_hold (model, id);
COMMENT ON TABLE sluice.promotion_hold IS
    'Holds: a model whose newest row is a hold that has not ended gets no new champion by a retrain. Only the newest '
    'row of a model counts, and none of before its deletion. Append-only.';
COMMENT ON COLUMN sluice.promotion_hold.id IS 'A number that grows with every row.';
COMMENT ON COLUMN sluice.promotion_hold.model IS 'The name of the model.';
COMMENT ON COLUMN sluice.promotion_hold.held IS 'True: promotions are held from then on. False: the hold was lifted.';
COMMENT ON COLUMN sluice.promotion_hold.held_until IS
    'When the hold ends (this moment is not included); null: when somebody lifts it.';
COMMENT ON COLUMN sluice.promotion_hold.actor IS 'Who set or lifted the hold.';
COMMENT ON COLUMN sluice.promotion_hold.reason IS 'Why the hold was set or lifted.';
COMMENT ON COLUMN sluice.promotion_hold.set_at IS 'When the hold was set or lifted.';

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON sluice.promotion_hold
    FOR EACH STATEMENT EXECUTE FUNCTION sluice.refuse_change();

CREATE FUNCTION sluice.lock_promotions(model text) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    -- A deletion holds the first lock until its transaction ends; promotions and holds of a model take turns at the second.
    SELECT pg_advisory_xact_lock_shared(hashtextextended('sluice.deletion.' || model, 0));
    SELECT pg_advisory_xact_lock(hashtextextended('sluice.promotion.' || model, 0));
$$;
COMMENT ON FUNCTION sluice.lock_promotions IS
    'Waits for other promotions and holds of the model. Until the transaction ends, there is no other.';

CREATE FUNCTION sluice.order_hold() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM sluice.lock_promotions(NEW.model);
    NEW.set_at := clock_timestamp();
    RETURN NEW;
END $$;
COMMENT ON FUNCTION sluice.order_hold IS
    'The trigger on sluice.promotion_hold: a hold comes before a promotion or after it, never at the same time.';
CREATE TRIGGER order_hold BEFORE INSERT ON sluice.promotion_hold
    FOR EACH ROW EXECUTE FUNCTION sluice.order_hold();

CREATE VIEW sluice.active_hold AS
SELECT model, held_until, actor, reason, set_at FROM (
    SELECT DISTINCT ON (model) * FROM sluice.promotion_hold
    WHERE set_at > coalesce((SELECT max(deletion.deleted_at) FROM sluice.model_deletion AS deletion
                             WHERE deletion.model = promotion_hold.model), '-infinity')
    ORDER BY model, id DESC
) AS newest
WHERE held AND (held_until IS NULL OR held_until > clock_timestamp());
COMMENT ON VIEW sluice.active_hold IS
    'The models whose promotions are held at this moment. A retrain of such a model registers a version and promotes '
    'nothing.';
COMMENT ON COLUMN sluice.active_hold.model IS 'The name of the model.';
COMMENT ON COLUMN sluice.active_hold.held_until IS 'When the hold ends; null: when somebody lifts it.';
COMMENT ON COLUMN sluice.active_hold.actor IS 'Who set the hold.';
COMMENT ON COLUMN sluice.active_hold.reason IS 'Why the hold was set.';
COMMENT ON COLUMN sluice.active_hold.set_at IS 'When the hold was set.';

ALTER TABLE sluice.model_version ADD COLUMN origin_digest text;
COMMENT ON COLUMN sluice.model_version.origin_digest IS
    'SHA-256 of all that the version was made from: the declaration, the snapshot and its split by time, the code of '
    'Sluice and the versions of the libraries. A retrain of an origin that is registered registers nothing. Null when '
    'it is unknown: the version was registered before origins were recorded.';
CREATE INDEX ON sluice.model_version (model, origin_digest);

-- With two more arguments it is another function; by default nobody named the version.
DROP FUNCTION sluice.promote(text, integer, integer, text, text, text);
CREATE FUNCTION sluice.promote(
    model text, version integer, expected_sequence integer, actor text, reason text, evidence_digest text,
    by_name boolean DEFAULT false, allow_older boolean DEFAULT false
) RETURNS SETOF sluice.promotion
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    hold sluice.active_hold;
    champion sluice.champion;
    champion_end timestamptz;
    data_end timestamptz;
BEGIN
    PERFORM sluice.lock_promotions(promote.model);
    PERFORM sluice.check_not_deleted(promote.model, promote.version);
    IF NOT sluice.may_operate() AND NOT EXISTS (
        SELECT FROM sluice.model_version AS known
        WHERE known.model = promote.model AND known.version = promote.version
          AND (known.decision ->> 'accepted')::boolean
    ) THEN
        RAISE EXCEPTION 'the gates did not accept it, and only an operator may promote it all the same'
            USING ERRCODE = 'SL002';
    END IF;
    SELECT * INTO hold FROM sluice.active_hold AS active WHERE active.model = promote.model;
    IF FOUND AND NOT (promote.by_name AND sluice.may_operate()) THEN
        RAISE EXCEPTION 'promotions of % are held by %', promote.model, hold.actor
            USING ERRCODE = 'SL005', DETAIL = to_jsonb(hold)::text;
    END IF;
    SELECT * INTO champion FROM sluice.champion AS present WHERE present.model = promote.model;
    -- A champion that was moved meanwhile is a conflict, below; the candidate was not compared with that one.
    IF FOUND AND NOT promote.by_name AND NOT promote.allow_older AND champion.version <> promote.version
        AND champion.sequence = promote.expected_sequence THEN
        SELECT (known.evaluation #>> '{holdout,end}')::timestamptz INTO champion_end
            FROM sluice.model_version AS known
            WHERE known.model = promote.model AND known.version = champion.version;
        SELECT (known.evaluation #>> '{holdout,end}')::timestamptz INTO data_end
            FROM sluice.model_version AS known
            WHERE known.model = promote.model AND known.version = promote.version;
        IF coalesce(data_end, '-infinity') < champion_end THEN
            RAISE EXCEPTION 'its data end before those of version %', champion.version
                USING ERRCODE = 'SL006', DETAIL = jsonb_build_object(
                    'champion', champion.version, 'champion_end', champion_end, 'data_end', data_end)::text;
        END IF;
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
    '(0) and there is no champion; returns no row when it is not. Unless an operator names the version (by_name), a '
    'hold refuses it, and so do data that end before those of the champion (but for allow_older).';

REVOKE EXECUTE ON FUNCTION sluice.lock_promotions, sluice.order_hold, sluice.promote FROM PUBLIC;
DO $$
DECLARE
    wanted text;
BEGIN
    FOREACH wanted IN ARRAY ARRAY['sluice_reader', 'sluice_trainer', 'sluice_operator'] LOOP
        IF EXISTS (SELECT FROM pg_roles WHERE rolname = wanted) THEN
            EXECUTE format('GRANT SELECT ON sluice.promotion_hold, sluice.active_hold TO %I', wanted);
        END IF;
    END LOOP;
    FOREACH wanted IN ARRAY ARRAY['sluice_trainer', 'sluice_operator'] LOOP
        IF EXISTS (SELECT FROM pg_roles WHERE rolname = wanted) THEN
            EXECUTE format('GRANT EXECUTE ON FUNCTION sluice.promote TO %I', wanted);
        END IF;
    END LOOP;
    -- Operators set holds and lift them.
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'sluice_operator') THEN
        GRANT INSERT ON sluice.promotion_hold TO sluice_operator;
    END IF;
END $$;
