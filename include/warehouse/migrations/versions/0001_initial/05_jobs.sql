-- Jobs of asynchronous prediction: in a schema apart from the ledger, which backups and tablespaces can treat otherwise.

CREATE TABLE sluice_jobs.job (
    id                uuid        PRIMARY KEY,
    model             text        NOT NULL,
    version           integer     NOT NULL,
    artifact_digest   text        NOT NULL,
    subject           text        NOT NULL,
    state             text        NOT NULL
                      CHECK (state IN ('submitting', 'queued', 'running', 'done', 'failed')),
    row_count         integer     NOT NULL CHECK (row_count >= 1),
    rows_done         integer     NOT NULL DEFAULT 0,
    prediction_bytes  bigint      NOT NULL CHECK (prediction_bytes >= 1),
    reserved_bytes    bigint      NOT NULL CHECK (reserved_bytes >= 0),
    attempt           integer     NOT NULL DEFAULT 0,
    lease_until       timestamptz,
    error             jsonb,
    submitted_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    started_at        timestamptz,
    finished_at       timestamptz,
    expires_at        timestamptz NOT NULL,
    FOREIGN KEY (model, version) REFERENCES sluice.model_version
);
CREATE INDEX ON sluice_jobs.job (subject, submitted_at);
CREATE INDEX ON sluice_jobs.job (submitted_at) WHERE state IN ('queued', 'running');
CREATE INDEX ON sluice_jobs.job (expires_at);
COMMENT ON TABLE sluice_jobs.job IS
    'Asynchronous predictions (`POST /v1/models/<name>/predict_async`). A job and its rows are deleted when it expires.';
COMMENT ON COLUMN sluice_jobs.job.id IS 'The id of the job.';
COMMENT ON COLUMN sluice_jobs.job.model IS 'The name of the model.';
COMMENT ON COLUMN sluice_jobs.job.version IS 'The version that predicts: the champion when the job was submitted.';
COMMENT ON COLUMN sluice_jobs.job.artifact_digest IS 'The digest of that version''s artifact.';
COMMENT ON COLUMN sluice_jobs.job.subject IS
    'Who submitted the job; nobody else can see it. `anonymous` when the service runs without authentication.';
COMMENT ON COLUMN sluice_jobs.job.state IS
    '`queued`, `running`, `done` or `failed`; `submitting` until its rows are stored.';
COMMENT ON COLUMN sluice_jobs.job.row_count IS 'The number of rows to predict.';
COMMENT ON COLUMN sluice_jobs.job.rows_done IS 'The number of rows that are predicted so far.';
COMMENT ON COLUMN sluice_jobs.job.prediction_bytes IS 'The most bytes that the prediction of a row takes.';
COMMENT ON COLUMN sluice_jobs.job.reserved_bytes IS
    'The bytes that count toward the quotas: rows that wait and the most that their predictions can take, and the '
    'predictions that are stored.';
COMMENT ON COLUMN sluice_jobs.job.attempt IS
    'How many times a worker took the job. A worker with an older attempt can write nothing more.';
COMMENT ON COLUMN sluice_jobs.job.lease_until IS
    'While the job runs: from when on another worker may take it. While it is submitted: from when on it is deleted.';
COMMENT ON COLUMN sluice_jobs.job.error IS 'Why the job failed.';
COMMENT ON COLUMN sluice_jobs.job.submitted_at IS 'When the job was submitted.';
COMMENT ON COLUMN sluice_jobs.job.started_at IS 'When a worker first took the job.';
COMMENT ON COLUMN sluice_jobs.job.finished_at IS 'When the job was done or failed.';
COMMENT ON COLUMN sluice_jobs.job.expires_at IS 'When the job is deleted.';

CREATE TABLE sluice_jobs.job_chunk (
    job          uuid    NOT NULL REFERENCES sluice_jobs.job ON DELETE CASCADE,
    first_row    integer NOT NULL,
    row_count    integer NOT NULL CHECK (row_count >= 1),
    body         bytea,
    predictions  bytea,
    PRIMARY KEY (job, first_row),
    CHECK ((body IS NULL) <> (predictions IS NULL))
);
COMMENT ON TABLE sluice_jobs.job_chunk IS 'The rows of a job in chunks of up to 500 rows, and their predictions.';
COMMENT ON COLUMN sluice_jobs.job_chunk.job IS 'The id of the job.';
COMMENT ON COLUMN sluice_jobs.job_chunk.first_row IS 'The position of the first row in the job, counted from 0.';
COMMENT ON COLUMN sluice_jobs.job_chunk.row_count IS 'The number of rows.';
COMMENT ON COLUMN sluice_jobs.job_chunk.body IS
    'The rows, as the JSON body of a prediction request; null once they are predicted.';
COMMENT ON COLUMN sluice_jobs.job_chunk.predictions IS 'The predictions, as a JSON list; null until the chunk is done.';
-- They are written once, read a few times and deleted: compression would cost more than it saves.
ALTER TABLE sluice_jobs.job_chunk ALTER body SET STORAGE EXTERNAL, ALTER predictions SET STORAGE EXTERNAL;
-- The default waits until a fifth of the rows is dead. With quotas near their limit, that is a fifth more on the disk,
-- and rows are replaced by predictions all the time.
ALTER TABLE sluice_jobs.job_chunk SET (
    autovacuum_vacuum_scale_factor = 0.02, toast.autovacuum_vacuum_scale_factor = 0.02
);

-- Apart from the jobs, because a caller may delete those: it would then always be the next, and could write as much as it
-- wants by submitting and deleting.
CREATE TABLE sluice_jobs.job_caller (
    subject     text        PRIMARY KEY,
    served_at   timestamptz,
    hour        timestamptz NOT NULL,
    hour_bytes  bigint      NOT NULL CHECK (hour_bytes >= 0)
);
COMMENT ON TABLE sluice_jobs.job_caller IS
    'The callers that submitted jobs: whose turn it is, and how much each has submitted in this hour.';
COMMENT ON COLUMN sluice_jobs.job_caller.subject IS 'Who submitted the jobs.';
COMMENT ON COLUMN sluice_jobs.job_caller.served_at IS
    'When a worker took a job of the subject for the last time: of those with as few running jobs, the subject that was '
    'served least recently comes next.';
COMMENT ON COLUMN sluice_jobs.job_caller.hour IS 'The start of the hour of the newest submission, in UTC.';
COMMENT ON COLUMN sluice_jobs.job_caller.hour_bytes IS
    'The bytes that the jobs of that hour took at most, deleted ones included.';
