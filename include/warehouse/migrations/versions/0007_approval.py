"""Promotions that a person approves: the database itself lets none through without, whoever asks."""

from alembic import op

from include.warehouse.migrations.roles import make_roles

revision = "0007"
down_revision = "0006"

TABLES = """
ALTER TABLE sluice.model_version ADD COLUMN needs_approval boolean NOT NULL DEFAULT false;
ALTER TABLE sluice.model_version ADD COLUMN evidence_digest text;
COMMENT ON COLUMN sluice.model_version.needs_approval IS 'Whether its declaration asked for a person''s approval';
COMMENT ON COLUMN sluice.model_version.evidence_digest IS
    'SHA-256 of the version with all that it was decided on: what an approval is bound to';

CREATE TABLE sluice.approval (
    id               bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    model            text        NOT NULL,
    version          integer     NOT NULL,
    evidence_digest  text        NOT NULL,
    decision         text        NOT NULL CHECK (decision IN ('approved', 'rejected', 'timed out')),
    approver         text        NOT NULL CHECK (approver <> ''),
    requested_by     text,
    comment          text        NOT NULL DEFAULT '',
    champion_sequence   integer     NOT NULL,
    newest_version   integer     NOT NULL,
    database_user    text        NOT NULL DEFAULT session_user,
    decided_at               timestamptz NOT NULL DEFAULT clock_timestamp(),
    FOREIGN KEY (model, version) REFERENCES sluice.model_version,
    CONSTRAINT not_by_oneself CHECK (decision <> 'approved' OR approver IS DISTINCT FROM requested_by)
);
CREATE INDEX ON sluice.approval (model, version);
COMMENT ON TABLE sluice.approval IS 'What people said of versions that ask for an approval. Append-only.';
COMMENT ON COLUMN sluice.approval.champion_sequence IS 'The champion''s sequence at that moment: moved since, it is void';
COMMENT ON COLUMN sluice.approval.newest_version IS 'The newest version at that moment: another since, it is void';

CREATE TABLE sluice.approval_waiver (
    id               bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    model            text        NOT NULL,
    after_version    integer     NOT NULL,
    actor            text        NOT NULL CHECK (actor <> ''),
    reason           text        NOT NULL CHECK (reason <> ''),
    waived_at               timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE sluice.approval_waiver IS
    'Models that need no approval any more: what versions up to after_version asked for counts no longer. Append-only.';

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON sluice.approval
    FOR EACH STATEMENT EXECUTE FUNCTION sluice.refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON sluice.approval_waiver
    FOR EACH STATEMENT EXECUTE FUNCTION sluice.refuse_change();
"""

# Whoever trains says with each version whether it needs an approval, and could leave that out. So a model that
# ever asked for one keeps asking, until an operator waives it.
FUNCTIONS = """
CREATE FUNCTION sluice.approval_is_needed(of_model text, of_version integer) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT EXISTS (
        SELECT FROM sluice.model_version
        WHERE model = of_model AND needs_approval AND version > coalesce(
            (SELECT max(after_version) FROM sluice.approval_waiver WHERE model = of_model), 0)
    ) AND NOT EXISTS (SELECT FROM sluice.promotion WHERE model = of_model AND to_version = of_version)
$$;
COMMENT ON FUNCTION sluice.approval_is_needed IS
    'Whether a version may be promoted with an approval only; a former champion may always be gone back to';

CREATE FUNCTION sluice.guard_promotion() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    said sluice.approval;
    newest integer;
    why text;
BEGIN
    IF NOT sluice.approval_is_needed(NEW.model, NEW.to_version) THEN
        RETURN NEW;
    END IF;
    SELECT * INTO said FROM sluice.approval
        WHERE model = NEW.model AND version = NEW.to_version ORDER BY id DESC LIMIT 1;
    SELECT max(version) INTO newest FROM sluice.model_version WHERE model = NEW.model;
    IF said.id IS NULL THEN
        why := 'nobody has approved it';
    ELSIF said.decision <> 'approved' THEN
        why := format('it was %s (by %s)', said.decision, said.approver);
    ELSIF said.evidence_digest <> NEW.evidence_digest THEN
        why := 'what was approved is other evidence';
    ELSIF said.champion_sequence <> NEW.sequence - 1 THEN
        why := 'the champion has moved since it was approved';
    ELSIF said.newest_version <> newest THEN
        why := format('version %s was registered since it was approved', newest);
    ELSIF said.approver = NEW.actor THEN
        why := format('%s approved it and may not promote it, too', said.approver);
    ELSE
        RETURN NEW;
    END IF;
    RAISE EXCEPTION '%', why USING ERRCODE = 'SL001';
END $$;
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
    'Whether the session''s own role owns the ledger or is a member of sluice_operator';

CREATE FUNCTION sluice.promote(
    of_model text, version integer, expected_sequence integer, by_actor text, because text, evidence text
) RETURNS SETOF sluice.promotion
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NOT sluice.may_operate() AND NOT EXISTS (
        SELECT FROM sluice.model_version AS known
        WHERE known.model = of_model AND known.version = promote.version AND (decision ->> 'accepted')::boolean
    ) THEN
        RAISE EXCEPTION 'the gates did not accept it, and only an operator may promote it all the same'
            USING ERRCODE = 'SL002';
    END IF;
    -- The row is built from the very row that the caller read: a sequence that is no longer the highest
    -- inserts nothing, and two promoters who read the same one meet at the primary key.
    RETURN QUERY
    INSERT INTO sluice.promotion AS made (model, sequence, from_version, to_version, actor, reason, evidence_digest)
    SELECT of_model, expected_sequence + 1,
           (SELECT former.to_version FROM sluice.promotion AS former
            WHERE former.model = of_model AND former.sequence = expected_sequence),
           promote.version, by_actor, because, evidence
    WHERE expected_sequence = (SELECT coalesce(max(former.sequence), 0) FROM sluice.promotion AS former
                            WHERE former.model = of_model)
    RETURNING made.*;
END $$;
COMMENT ON FUNCTION sluice.promote IS
    'Moves a champion if its sequence is still the expected one; returns no row when it is not';

CREATE FUNCTION sluice.approve(
    of_model text, of_version integer, evidence text, verdict text, by_approver text, for_requester text, because text
) RETURNS SETOF sluice.approval
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF evidence IS DISTINCT FROM (
        SELECT coalesce(evidence_digest, evidence) FROM sluice.model_version
        WHERE model = of_model AND version = of_version
    ) THEN
        RAISE EXCEPTION 'the evidence is not that of the registered version' USING ERRCODE = 'SL003';
    END IF;
    RETURN QUERY
    INSERT INTO sluice.approval AS made
        (model, version, evidence_digest, decision, approver, requested_by, comment, champion_sequence, newest_version)
    SELECT of_model, of_version, evidence, verdict, by_approver, for_requester, because,
           (SELECT coalesce(max(sequence), 0) FROM sluice.promotion WHERE promotion.model = of_model),
           (SELECT max(known.version) FROM sluice.model_version AS known WHERE known.model = of_model)
    RETURNING made.*;
END $$;
COMMENT ON FUNCTION sluice.approve IS 'Stores what a person said of a version, with what was true at that moment';

CREATE FUNCTION sluice.waive_approval(of_model text, by_actor text, because text) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    INSERT INTO sluice.approval_waiver (model, after_version, actor, reason)
    SELECT of_model, coalesce(max(version), 0), by_actor, because FROM sluice.model_version WHERE model = of_model
$$;
COMMENT ON FUNCTION sluice.waive_approval IS
    'Says that what the versions so far asked for counts no longer: for a model whose declaration asks no more';
"""

RIGHTS = """
REVOKE EXECUTE ON FUNCTION sluice.promote, sluice.approve, sluice.waive_approval FROM PUBLIC;
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'sluice_trainer') THEN
        GRANT USAGE ON SCHEMA source, sluice TO sluice_trainer;
        GRANT SELECT ON ALL TABLES IN SCHEMA source, sluice TO sluice_trainer;
        ALTER DEFAULT PRIVILEGES IN SCHEMA source GRANT SELECT ON TABLES TO sluice_trainer;
        GRANT INSERT ON sluice.model_version, sluice.validation_result, sluice.alert TO sluice_trainer;
        GRANT UPDATE (channels, delivered) ON sluice.alert TO sluice_trainer;
        GRANT EXECUTE ON FUNCTION sluice.promote TO sluice_trainer;
    END IF;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'sluice_approver') THEN
        GRANT USAGE ON SCHEMA sluice TO sluice_approver;
        GRANT SELECT ON sluice.model_version, sluice.promotion, sluice.champion, sluice.approval TO sluice_approver;
        GRANT EXECUTE ON FUNCTION sluice.approve TO sluice_approver;
    END IF;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'sluice_operator') THEN
        GRANT USAGE ON SCHEMA sluice TO sluice_operator;
        GRANT SELECT ON sluice.model_version, sluice.promotion, sluice.champion, sluice.champion_history,
            sluice.approval, sluice.approval_waiver TO sluice_operator;
        GRANT EXECUTE ON FUNCTION sluice.promote, sluice.waive_approval TO sluice_operator;
    END IF;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'sluice_reader') THEN
        GRANT SELECT ON sluice.approval TO sluice_reader;
    END IF;
END $$;
"""


def upgrade() -> None:
    """Make the tables, the functions, and the roles where that is allowed."""
    for block in (TABLES, FUNCTIONS, make_roles("sluice_trainer", "sluice_approver", "sluice_operator"), RIGHTS):
        op.execute(block.replace(":", "\\:"))


def downgrade() -> None:
    """Remove them; the roles may be another database's too, and stay."""
    op.execute("DROP TRIGGER guard ON sluice.promotion")
    for name in ("waive_approval", "approve", "promote", "may_operate", "guard_promotion", "approval_is_needed"):
        op.execute(f"DROP FUNCTION sluice.{name}")
    op.execute("DROP TABLE sluice.approval, sluice.approval_waiver")
    op.execute("ALTER TABLE sluice.model_version DROP COLUMN needs_approval, DROP COLUMN evidence_digest")
