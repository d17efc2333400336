-- Jobs of asynchronous prediction.

CREATE TABLE sluice.job (
    id               uuid        PRIMARY KEY,
    model            text        NOT NULL,
    version          integer     NOT NULL,
    artifact_digest  text        NOT NULL,
    subject          text        NOT NULL,
    state            text        NOT NULL DEFAULT 'queued'
                     CHECK (state IN ('queued', 'running', 'done', 'failed', 'cancelled')),
    row_count        integer     NOT NULL CHECK (row_count >= 1),
    rows_done        integer     NOT NULL DEFAULT 0,
    attempt          integer     NOT NULL DEFAULT 0,
    lease_until      timestamptz,
    error            jsonb,
    submitted_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    started_at       timestamptz,
    finished_at      timestamptz,
    expires_at       timestamptz NOT NULL,
    FOREIGN KEY (model, version) REFERENCES sluice.model_version
);
CREATE INDEX ON sluice.job (submitted_at) WHERE state IN ('queued', 'running');
CREATE INDEX ON sluice.job (expires_at);
COMMENT ON TABLE sluice.job IS
    'Asynchronous predictions (`POST /v1/models/<name>/predict_async`). A job and its rows are deleted when it expires.';
COMMENT ON COLUMN sluice.job.id IS 'The id of the job.';
COMMENT ON COLUMN sluice.job.model IS 'The name of the model.';
COMMENT ON COLUMN sluice.job.version IS 'The version that predicts: the champion when the job was submitted.';
COMMENT ON COLUMN sluice.job.artifact_digest IS 'The digest of that version''s artifact.';
COMMENT ON COLUMN sluice.job.subject IS
    'Who submitted the job; nobody else can see it. `anonymous` when the service runs without authentication.';
COMMENT ON COLUMN sluice.job.state IS '`queued`, `running`, `done`, `failed` or `cancelled`.';
COMMENT ON COLUMN sluice.job.row_count IS 'The number of rows to predict.';
COMMENT ON COLUMN sluice.job.rows_done IS 'The number of rows that are predicted so far.';
COMMENT ON COLUMN sluice.job.attempt IS
    'How many times a worker took the job. A worker with an older attempt can write nothing more.';
COMMENT ON COLUMN sluice.job.lease_until IS 'While the job runs: from when on another worker may take it.';
COMMENT ON COLUMN sluice.job.error IS 'Why the job failed.';
COMMENT ON COLUMN sluice.job.submitted_at IS 'When the job was submitted.';
COMMENT ON COLUMN sluice.job.started_at IS 'When a worker first took the job.';
COMMENT ON COLUMN sluice.job.finished_at IS 'When the job was done, failed or cancelled.';
COMMENT ON COLUMN sluice.job.expires_at IS 'When the job is deleted.';

CREATE TABLE sluice.job_chunk (
    job        uuid    NOT NULL REFERENCES sluice.job ON DELETE CASCADE,
    first_row  integer NOT NULL,
    row_count  integer NOT NULL CHECK (row_count >= 1),
    body       bytea   NOT NULL,
    answers    bytea,
    PRIMARY KEY (job, first_row)
);
COMMENT ON TABLE sluice.job_chunk IS 'The rows of a job in chunks of up to 500 rows, and their predictions.';
COMMENT ON COLUMN sluice.job_chunk.job IS 'The id of the job.';
COMMENT ON COLUMN sluice.job_chunk.first_row IS 'The position of the first row in the job, counted from 0.';
COMMENT ON COLUMN sluice.job_chunk.row_count IS 'The number of rows.';
COMMENT ON COLUMN sluice.job_chunk.body IS 'The rows, as the JSON body of a prediction request.';
COMMENT ON COLUMN sluice.job_chunk.answers IS 'The predictions, as a JSON list; null until the chunk is done.';
-- They are written once, read a few times and deleted: compression would cost more than it saves.
ALTER TABLE sluice.job_chunk ALTER body SET STORAGE EXTERNAL, ALTER answers SET STORAGE EXTERNAL;
