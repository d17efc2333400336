-- Roles without a login: a login that needs their rights becomes a member of them. They belong to the whole server, so
-- they may already exist: from another database, or created by an administrator. Then the migration needs no right to
-- create roles. The grants below are for the roles that exist.

DO $$
DECLARE
    wanted text;
    may_create boolean;
BEGIN
    SELECT rolsuper OR rolcreaterole INTO may_create FROM pg_roles WHERE rolname = current_user;
    FOREACH wanted IN ARRAY ARRAY[
        'sluice_reader', 'sluice_analyst', 'sluice_worker', 'sluice_trainer', 'sluice_approver', 'sluice_operator'
    ] LOOP
        IF EXISTS (SELECT FROM pg_roles WHERE rolname = wanted) THEN
            CONTINUE;
        ELSIF NOT may_create THEN
            RAISE NOTICE 'role % may not create roles: % was not made. An administrator can make it '
                '(CREATE ROLE % NOLOGIN) and grant as in docs/reference/database.md.', current_user, wanted, wanted;
            CONTINUE;
        END IF;
        BEGIN
            EXECUTE format('CREATE ROLE %I NOLOGIN', wanted);
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            NULL; -- another database of this server is migrated at the same time
        END;
    END LOOP;
END $$;

-- By default every role may call a function, and some of these write with the owner's rights.
REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA sluice FROM PUBLIC;

DO $$
BEGIN
    -- The online service reads.
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'sluice_reader') THEN
        GRANT USAGE ON SCHEMA scores, sluice TO sluice_reader;
        GRANT SELECT ON ALL TABLES IN SCHEMA scores TO sluice_reader;
        ALTER DEFAULT PRIVILEGES IN SCHEMA scores GRANT SELECT ON TABLES TO sluice_reader;
        GRANT SELECT ON sluice.model_version, sluice.promotion, sluice.champion, sluice.champion_history,
            sluice.partition_publication, sluice.published_partition, sluice.approval,
            sluice.shadow_assignment, sluice.shadow_divergence, sluice.shadow_sample TO sluice_reader;
        GRANT EXECUTE ON FUNCTION sluice.log_predictions, sluice.raise_service_alert TO sluice_reader;
    END IF;
    -- The online service works on jobs.
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'sluice_worker') THEN
        GRANT USAGE ON SCHEMA sluice_jobs TO sluice_worker;
        GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA sluice_jobs TO sluice_worker;
    END IF;
    -- Analysts read the scores, and where they come from.
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'sluice_analyst') THEN
        GRANT USAGE ON SCHEMA scores, sluice TO sluice_analyst;
        GRANT SELECT ON ALL TABLES IN SCHEMA scores TO sluice_analyst;
        ALTER DEFAULT PRIVILEGES IN SCHEMA scores GRANT SELECT ON TABLES TO sluice_analyst;
        GRANT SELECT ON sluice.champion, sluice.champion_history, sluice.published_partition, sluice.score_lineage
            TO sluice_analyst;
    END IF;
    -- Retraining: validates, registers, and promotes what the gates accepted.
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'sluice_trainer') THEN
        GRANT USAGE ON SCHEMA source, sluice TO sluice_trainer;
        GRANT USAGE, CREATE ON SCHEMA sluice_scratch TO sluice_trainer;
        GRANT SELECT ON ALL TABLES IN SCHEMA source TO sluice_trainer;
        ALTER DEFAULT PRIVILEGES IN SCHEMA source GRANT SELECT ON TABLES TO sluice_trainer;
        GRANT SELECT ON sluice.model_version, sluice.promotion, sluice.champion, sluice.champion_history,
            sluice.partition_publication, sluice.score_attempt, sluice.partition_removal, sluice.published_partition,
            sluice.score_lineage, sluice.prediction_log, sluice.approval,
            sluice.approval_waiver, sluice.shadow_assignment, sluice.shadow_divergence, sluice.validation_result,
            sluice.parity_check, sluice.attestation, sluice.alert TO sluice_trainer;
        GRANT INSERT ON sluice.model_version, sluice.validation_result, sluice.alert TO sluice_trainer;
        GRANT DELETE ON sluice.validation_result TO sluice_trainer;
        GRANT UPDATE (channels, delivered) ON sluice.alert TO sluice_trainer;
        GRANT EXECUTE ON FUNCTION sluice.promote TO sluice_trainer;
    END IF;
    -- Approvers decide, and write nothing else.
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'sluice_approver') THEN
        GRANT USAGE ON SCHEMA sluice TO sluice_approver;
        GRANT SELECT ON sluice.model_version, sluice.promotion, sluice.champion, sluice.approval TO sluice_approver;
        GRANT EXECUTE ON FUNCTION sluice.approve TO sluice_approver;
    END IF;
    -- Operators promote what the gates rejected, too, waive approvals and choose challengers. Before a promotion the
    -- version's query is planned, which needs the right to read its tables.
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'sluice_operator') THEN
        GRANT USAGE ON SCHEMA source, sluice TO sluice_operator;
        GRANT SELECT ON ALL TABLES IN SCHEMA source TO sluice_operator;
        ALTER DEFAULT PRIVILEGES IN SCHEMA source GRANT SELECT ON TABLES TO sluice_operator;
        GRANT SELECT ON sluice.model_version, sluice.promotion, sluice.champion, sluice.champion_history,
            sluice.approval, sluice.approval_waiver, sluice.shadow_assignment, sluice.shadow_divergence
            TO sluice_operator;
        GRANT INSERT ON sluice.shadow_assignment TO sluice_operator;
        GRANT EXECUTE ON FUNCTION sluice.promote, sluice.waive_approval TO sluice_operator;
    END IF;
END $$;
