-- Promotions that need the approval of a person. The database itself refuses a promotion without one, whoever inserts.

CREATE TABLE sluice.approval (
    id                 bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    model              text        NOT NULL,
    version            integer     NOT NULL,
    evidence_digest    text        NOT NULL,
    decision           text        NOT NULL CHECK (decision IN ('approved', 'rejected', 'timed out')),
    approver           text        NOT NULL CHECK (approver <> ''),
    requested_by       text,
    comment            text        NOT NULL DEFAULT '',
    champion_sequence  integer     NOT NULL,
    newest_version     integer     NOT NULL,
    database_user      text        NOT NULL DEFAULT session_user,
    decided_at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    FOREIGN KEY (model, version) REFERENCES sluice.model_version,
    CONSTRAINT not_by_oneself CHECK (decision <> 'approved' OR approver IS DISTINCT FROM requested_by)
);
CREATE INDEX ON sluice.approval (model, version);
COMMENT ON TABLE sluice.approval IS
    'The decisions of people on versions that need an approval. Only the newest row of a version counts, and only '
    'while the champion and the newest version are still those of the row. Append-only.';
COMMENT ON COLUMN sluice.approval.id IS 'A number that grows with every decision.';
COMMENT ON COLUMN sluice.approval.model IS 'The name of the model.';
COMMENT ON COLUMN sluice.approval.version IS 'The version.';
COMMENT ON COLUMN sluice.approval.evidence_digest IS
    'The evidence digest of the version, as it was shown to the approver.';
COMMENT ON COLUMN sluice.approval.decision IS '`approved`, `rejected` or `timed out`.';
COMMENT ON COLUMN sluice.approval.approver IS 'Who decided.';
COMMENT ON COLUMN sluice.approval.requested_by IS
    'Who started the run; null when the schedule did. This person cannot approve the version.';
COMMENT ON COLUMN sluice.approval.comment IS 'What the approver wrote.';
COMMENT ON COLUMN sluice.approval.champion_sequence IS
    'The sequence number of the champion''s promotion at that moment, or 0 when there was no champion. '
    'After another promotion the approval is void.';
COMMENT ON COLUMN sluice.approval.newest_version IS
    'The newest version at that moment. After another version is registered the approval is void.';
COMMENT ON COLUMN sluice.approval.database_user IS 'The database role that wrote the row.';
COMMENT ON COLUMN sluice.approval.decided_at IS 'When the approver decided.';

CREATE TABLE sluice.approval_waiver (
    id             bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    model          text        NOT NULL,
    after_version  integer     NOT NULL,
    actor          text        NOT NULL CHECK (actor <> ''),
    reason         text        NOT NULL CHECK (reason <> ''),
    waived_at      timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE sluice.approval_waiver IS
    'Models that do not need approvals any more. A model that once needed them keeps needing them, whatever its '
    'declaration says, until an operator adds a row here. Append-only.';
COMMENT ON COLUMN sluice.approval_waiver.id IS 'A number that identifies the row.';
COMMENT ON COLUMN sluice.approval_waiver.model IS 'The name of the model.';
COMMENT ON COLUMN sluice.approval_waiver.after_version IS
    'Whether this version and earlier ones needed an approval does not count any more.';
COMMENT ON COLUMN sluice.approval_waiver.actor IS 'Who waived the approvals.';
COMMENT ON COLUMN sluice.approval_waiver.reason IS 'Why the approvals were waived.';
COMMENT ON COLUMN sluice.approval_waiver.waived_at IS 'When the approvals were waived.';

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON sluice.approval
    FOR EACH STATEMENT EXECUTE FUNCTION sluice.refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON sluice.approval_waiver
    FOR EACH STATEMENT EXECUTE FUNCTION sluice.refuse_change();

-- The trainer's role records for each version whether it needs an approval, and could omit it. So a model that ever
-- needed one keeps needing it, until an operator waives it.
CREATE FUNCTION sluice.approval_is_needed(model text, version integer) RETURNS boolean
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
COMMENT ON FUNCTION sluice.approval_is_needed IS
    'Whether a promotion of the version needs an approval. A rollback to a former champion never does.';

CREATE FUNCTION sluice.guard_promotion() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    approval sluice.approval;
    newest integer;
    problem text;
BEGIN
    IF NOT sluice.approval_is_needed(NEW.model, NEW.to_version) THEN
        RETURN NEW;
    END IF;
    SELECT * INTO approval FROM sluice.approval AS known
        WHERE known.model = NEW.model AND known.version = NEW.to_version ORDER BY known.id DESC LIMIT 1;
    SELECT max(version) INTO newest FROM sluice.model_version WHERE model = NEW.model;
    IF approval.id IS NULL THEN
        problem := 'nobody has approved it';
    ELSIF approval.decision <> 'approved' THEN
        problem := format('it was %s (by %s)', approval.decision, approval.approver);
    ELSIF approval.evidence_digest <> NEW.evidence_digest THEN
        problem := 'what was approved is other evidence';
    ELSIF approval.champion_sequence <> NEW.sequence - 1 THEN
        problem := 'the champion has moved since it was approved';
    ELSIF approval.newest_version <> newest THEN
        problem := format('version %s was registered since it was approved', newest);
    ELSIF approval.approver = NEW.actor THEN
        problem := format('%s approved it and may not promote it, too', approval.approver);
    ELSE
        RETURN NEW;
    END IF;
    RAISE EXCEPTION '%', problem USING ERRCODE = 'SL001';
END $$;
COMMENT ON FUNCTION sluice.guard_promotion IS
    'The trigger on sluice.promotion: refuses a promotion that needs an approval and has none that holds.';
CREATE TRIGGER guard BEFORE INSERT ON sluice.promotion
    FOR EACH ROW EXECUTE FUNCTION sluice.guard_promotion();

CREATE FUNCTION sluice.may_operate() RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT session_user = current_user OR EXISTS (
        SELECT FROM pg_roles
        WHERE rolname = 'sluice_operator' AND pg_has_role(session_user, oid, 'member')
    )
$$;
COMMENT ON FUNCTION sluice.may_operate IS
    'Whether the role that opened the session owns the ledger or is a member of sluice_operator.';

CREATE FUNCTION sluice.promote(
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
COMMENT ON FUNCTION sluice.promote IS
    'Makes a version the champion if the highest sequence number is still the expected one; '
    'returns no row when it is not.';

-- The person who requested the run is taken from the ledger; if it has none, from the caller.
CREATE FUNCTION sluice.approve(
    model text, version integer, evidence_digest text, decision text, approver text, requested_by text, comment text
) RETURNS SETOF sluice.approval
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    IF approve.evidence_digest IS DISTINCT FROM (
        SELECT known.evidence_digest FROM sluice.model_version AS known
        WHERE known.model = approve.model AND known.version = approve.version
    ) THEN
        RAISE EXCEPTION 'the evidence is not that of the registered version' USING ERRCODE = 'SL003';
    END IF;
    RETURN QUERY
    INSERT INTO sluice.approval AS made
        (model, version, evidence_digest, decision, approver, requested_by, comment, champion_sequence, newest_version)
    SELECT approve.model, approve.version, approve.evidence_digest, approve.decision, approve.approver,
           coalesce(
               (SELECT known.requested_by FROM sluice.model_version AS known
                WHERE known.model = approve.model AND known.version = approve.version),
               approve.requested_by),
           approve.comment,
           (SELECT coalesce(max(former.sequence), 0) FROM sluice.promotion AS former
            WHERE former.model = approve.model),
           (SELECT max(known.version) FROM sluice.model_version AS known WHERE known.model = approve.model)
    RETURNING made.*;
END $$;
COMMENT ON FUNCTION sluice.approve IS
    'Stores the decision of a person on a version, with the champion and the newest version of that moment.';

CREATE FUNCTION sluice.waive_approval(model text, actor text, reason text) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    INSERT INTO sluice.approval_waiver (model, after_version, actor, reason)
    SELECT waive_approval.model, coalesce(max(known.version), 0), waive_approval.actor, waive_approval.reason
    FROM sluice.model_version AS known WHERE known.model = waive_approval.model
$$;
COMMENT ON FUNCTION sluice.waive_approval IS
    'Ends the need for approvals of a model whose declaration no longer requires them.';
