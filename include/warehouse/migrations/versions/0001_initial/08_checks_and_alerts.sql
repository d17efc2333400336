-- The results of checks, the attestations of people, and the alerts to operators.

CREATE TABLE sluice.validation_result (
    id               bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
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
COMMENT ON TABLE sluice.validation_result IS
    'The results of data validation: one row for each expectation that the data of a run was checked against.';
COMMENT ON COLUMN sluice.validation_result.id IS 'A number that identifies the row.';
COMMENT ON COLUMN sluice.validation_result.model IS 'The name of the model.';
COMMENT ON COLUMN sluice.validation_result.run_id IS 'The run.';
COMMENT ON COLUMN sluice.validation_result.purpose IS 'What the data was for: `train` or `score`.';
COMMENT ON COLUMN sluice.validation_result.period_start IS 'Start of the period that was checked.';
COMMENT ON COLUMN sluice.validation_result.period_end IS
    'End of the period that was checked; this moment is not included.';
COMMENT ON COLUMN sluice.validation_result.expectation IS 'The name of the expectation in Great Expectations.';
COMMENT ON COLUMN sluice.validation_result.column_name IS
    'The column that was checked; null when the expectation is about the whole table.';
COMMENT ON COLUMN sluice.validation_result.passed IS 'Whether the data met the expectation.';
COMMENT ON COLUMN sluice.validation_result.sentence IS 'The expectation as a sentence.';
COMMENT ON COLUMN sluice.validation_result.observed IS 'What was found.';
COMMENT ON COLUMN sluice.validation_result.failing_count IS 'The number of rows that failed.';
COMMENT ON COLUMN sluice.validation_result.offending_keys IS 'The entity keys of up to 20 failing rows.';
COMMENT ON COLUMN sluice.validation_result.docs_path IS 'The path of the run''s Data Docs (HTML).';
COMMENT ON COLUMN sluice.validation_result.checked_at IS 'When the data was checked.';

CREATE TABLE sluice.parity_check (
    id               bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    model            text        NOT NULL,
    partition_start  timestamptz NOT NULL,
    version          integer     NOT NULL,
    artifact_digest  text        NOT NULL,
    run_id           text        NOT NULL,
    verdict          text        NOT NULL CHECK (verdict IN ('equal', 'differs', 'not_checked')),
    row_count        integer     NOT NULL,
    differing        integer     NOT NULL,
    largest_ulp      bigint      NOT NULL,
    allowed_ulp      bigint      NOT NULL,
    service          text        NOT NULL,
    reason           text,
    published        boolean     NOT NULL,
    checked_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    FOREIGN KEY (model, version) REFERENCES sluice.model_version
);
CREATE INDEX ON sluice.parity_check (model, partition_start);
COMMENT ON TABLE sluice.parity_check IS
    'Comparisons of batch and online: a sample of a scored partition, predicted again by the running service with the '
    'same version. Append-only.';
COMMENT ON COLUMN sluice.parity_check.id IS 'A number that identifies the row.';
COMMENT ON COLUMN sluice.parity_check.model IS 'The name of the model.';
COMMENT ON COLUMN sluice.parity_check.partition_start IS 'Start of the partition.';
COMMENT ON COLUMN sluice.parity_check.version IS 'The version that scored the partition and that the service used.';
COMMENT ON COLUMN sluice.parity_check.artifact_digest IS 'The digest of that version''s artifact.';
COMMENT ON COLUMN sluice.parity_check.run_id IS 'The run that scored the partition.';
COMMENT ON COLUMN sluice.parity_check.verdict IS
    '`equal`, `differs`, or `not_checked` when the service could not be reached.';
COMMENT ON COLUMN sluice.parity_check.row_count IS
    'The number of rows that were compared; 0 when the service could not be reached.';
COMMENT ON COLUMN sluice.parity_check.differing IS 'The number of rows where the two numbers differ, however little.';
COMMENT ON COLUMN sluice.parity_check.largest_ulp IS
    'The largest difference of two numbers, in units in the last place (ULP) of single precision; 0: the same bits.';
COMMENT ON COLUMN sluice.parity_check.allowed_ulp IS 'The largest difference that the declaration allows, in ULP.';
COMMENT ON COLUMN sluice.parity_check.service IS 'The address of the service.';
COMMENT ON COLUMN sluice.parity_check.reason IS 'The row that differs most, or why nothing was compared.';
COMMENT ON COLUMN sluice.parity_check.published IS 'Whether the rows were already published when they were compared.';
COMMENT ON COLUMN sluice.parity_check.checked_at IS 'When the rows were compared.';
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON sluice.parity_check
    FOR EACH STATEMENT EXECUTE FUNCTION sluice.refuse_change();

CREATE TABLE sluice.attestation (
    id           bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    model        text        NOT NULL,
    test         text        NOT NULL CHECK (test <> ''),
    statement    text        NOT NULL CHECK (statement <> ''),
    actor        text        NOT NULL CHECK (actor <> ''),
    attested_at  timestamptz NOT NULL,
    signature    jsonb       NOT NULL
);
CREATE INDEX ON sluice.attestation (model, test);
COMMENT ON TABLE sluice.attestation IS
    'Signed statements of people that a test of the ML Test Score was done by hand (`sluice attest`). The newest '
    'statement on a test counts half a point, while the key that signed it is trusted. Append-only.';
COMMENT ON COLUMN sluice.attestation.id IS 'A number that grows with every statement.';
COMMENT ON COLUMN sluice.attestation.model IS 'The name of the model.';
COMMENT ON COLUMN sluice.attestation.test IS 'The test, such as `model-3`.';
COMMENT ON COLUMN sluice.attestation.statement IS 'What was done, and where it is documented.';
COMMENT ON COLUMN sluice.attestation.actor IS 'Who made the statement.';
COMMENT ON COLUMN sluice.attestation.attested_at IS 'When the statement was made.';
COMMENT ON COLUMN sluice.attestation.signature IS
    'The Ed25519 signature over the other columns (except the id), with the id of the key.';
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON sluice.attestation
    FOR EACH STATEMENT EXECUTE FUNCTION sluice.refuse_change();

CREATE TABLE sluice.alert (
    id               bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
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
COMMENT ON TABLE sluice.alert IS 'The alerts that were raised, and whether they were delivered.';
COMMENT ON COLUMN sluice.alert.id IS 'A number that identifies the row.';
COMMENT ON COLUMN sluice.alert.model IS 'The name of the model; null when the alert is about no single model.';
COMMENT ON COLUMN sluice.alert.dag_id IS 'The DAG that failed; `model_service` for alerts of the online service.';
COMMENT ON COLUMN sluice.alert.task_id IS 'The task that failed; null when the whole run failed.';
COMMENT ON COLUMN sluice.alert.run_id IS
    'The run; for alerts of the online service the problem, such as `version 3 could not be loaded`.';
COMMENT ON COLUMN sluice.alert.try_number IS 'The try of the task that failed.';
COMMENT ON COLUMN sluice.alert.error IS 'What went wrong, and what to do.';
COMMENT ON COLUMN sluice.alert.log_url IS 'The address of the task''s log.';
COMMENT ON COLUMN sluice.alert.raised_at IS 'When the alert was raised.';
COMMENT ON COLUMN sluice.alert.channels IS
    'The channels it was sent to: `name` when the channel accepted it, `name: why` when it did not.';
COMMENT ON COLUMN sluice.alert.delivered IS
    'Whether every channel accepted it. The DAG `housekeeping` sends it again to those that did not.';

-- The service's role may only read; it raises alerts by this function, which runs with the owner's rights.
CREATE FUNCTION sluice.raise_service_alert(model text, problem text, error text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('sluice.raise_service_alert'));
    IF EXISTS (
        SELECT FROM sluice.alert AS known
        WHERE known.dag_id = 'model_service' AND known.model = raise_service_alert.model
          AND known.run_id = raise_service_alert.problem
          AND known.raised_at > clock_timestamp() - interval '1 hour'
    ) THEN
        RETURN false;
    END IF;
    INSERT INTO sluice.alert (model, dag_id, run_id, error)
    VALUES (raise_service_alert.model, 'model_service', raise_service_alert.problem, raise_service_alert.error);
    RETURN true;
END $$;
COMMENT ON FUNCTION sluice.raise_service_alert IS
    'Raises an alert of the online service. The same problem of the same model is raised once an hour, however many '
    'workers see it.';
