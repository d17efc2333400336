-- Challengers: versions that score beside the champion, and how much their scores differ from the champion's.

CREATE TABLE sluice.shadow_assignment (
    id           bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    model        text        NOT NULL,
    version      integer,
    actor        text        NOT NULL CHECK (actor <> ''),
    assigned_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    FOREIGN KEY (model, version) REFERENCES sluice.model_version
);
COMMENT ON TABLE sluice.shadow_assignment IS
    'Which version is the challenger: it scores in the shadow of the champion. The newest row of a model counts. '
    'Append-only.';
COMMENT ON COLUMN sluice.shadow_assignment.id IS 'A number that grows with every assignment.';
COMMENT ON COLUMN sluice.shadow_assignment.model IS 'The name of the model.';
COMMENT ON COLUMN sluice.shadow_assignment.version IS 'The challenger; null when there is none from then on.';
COMMENT ON COLUMN sluice.shadow_assignment.actor IS 'Who chose the challenger.';
COMMENT ON COLUMN sluice.shadow_assignment.assigned_at IS 'When the challenger was chosen.';

CREATE TABLE sluice.shadow_divergence (
    id                bigint           GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    model             text             NOT NULL,
    version           integer          NOT NULL,
    champion_version  integer          NOT NULL,
    partition_start   timestamptz,
    row_count         bigint           NOT NULL,
    rank_correlation  double precision,
    decile_moves      double precision NOT NULL,
    label_flips       double precision,
    run_id            text             NOT NULL,
    measured_at       timestamptz      NOT NULL DEFAULT clock_timestamp(),
    source            text             NOT NULL DEFAULT 'batch' CHECK (source IN ('batch', 'online')),
    sampled_from      timestamptz,
    sampled_to        timestamptz,
    refused_rows      bigint           NOT NULL DEFAULT 0 CHECK (refused_rows >= 0),
    FOREIGN KEY (model, version) REFERENCES sluice.model_version,
    CONSTRAINT of_partition_or_sample CHECK (
        (source = 'batch') = (partition_start IS NOT NULL)
        AND (source = 'online') = (sampled_from IS NOT NULL AND sampled_to IS NOT NULL)
    )
);
CREATE INDEX ON sluice.shadow_divergence (model, version);
COMMENT ON TABLE sluice.shadow_divergence IS
    'How much the scores of a challenger differ from those of the champion, on a partition or on a sample of online '
    'requests. Append-only.';
COMMENT ON COLUMN sluice.shadow_divergence.id IS 'A number that identifies the row.';
COMMENT ON COLUMN sluice.shadow_divergence.model IS 'The name of the model.';
COMMENT ON COLUMN sluice.shadow_divergence.version IS 'The challenger.';
COMMENT ON COLUMN sluice.shadow_divergence.champion_version IS
    'The version that scored the published partition, or that answered the requests.';
COMMENT ON COLUMN sluice.shadow_divergence.partition_start IS
    'Start of the partition; null for a sample of requests.';
COMMENT ON COLUMN sluice.shadow_divergence.row_count IS 'The number of rows that both versions scored.';
COMMENT ON COLUMN sluice.shadow_divergence.rank_correlation IS
    'Spearman''s rank correlation, averaged over the score columns; null when one of the versions gives every row '
    'the same score.';
COMMENT ON COLUMN sluice.shadow_divergence.decile_moves IS
    'The share of rows that are in another tenth (decile) of the scores.';
COMMENT ON COLUMN sluice.shadow_divergence.label_flips IS
    'The share of rows with another predicted class; null for a regression.';
COMMENT ON COLUMN sluice.shadow_divergence.run_id IS 'The run that measured.';
COMMENT ON COLUMN sluice.shadow_divergence.measured_at IS 'When it was measured.';
COMMENT ON COLUMN sluice.shadow_divergence.source IS
    '`batch`: a partition of scores; `online`: a sample of requests.';
COMMENT ON COLUMN sluice.shadow_divergence.sampled_from IS
    'When the oldest request of the sample was answered; null for a partition.';
COMMENT ON COLUMN sluice.shadow_divergence.sampled_to IS
    'When the newest request of the sample was answered; null for a partition.';
COMMENT ON COLUMN sluice.shadow_divergence.refused_rows IS
    'The number of rows that the champion scored and the challenger refused.';

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON sluice.shadow_assignment
    FOR EACH STATEMENT EXECUTE FUNCTION sluice.refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON sluice.shadow_divergence
    FOR EACH STATEMENT EXECUTE FUNCTION sluice.refuse_change();

-- A row of the log counts once for each challenger: the key ensures it, whatever runs at the same time.
CREATE TABLE sluice.shadow_sample (
    prediction_id  bigint  NOT NULL REFERENCES sluice.prediction_log ON DELETE CASCADE,
    version        integer NOT NULL,
    divergence_id  bigint  NOT NULL REFERENCES sluice.shadow_divergence,
    PRIMARY KEY (prediction_id, version)
);
CREATE INDEX ON sluice.shadow_sample (divergence_id);
COMMENT ON TABLE sluice.shadow_sample IS
    'Which rows of the prediction log a challenger was measured on; each row counts once for a challenger. '
    'A row is deleted together with its row of the log.';
COMMENT ON COLUMN sluice.shadow_sample.prediction_id IS 'The id of the row in `sluice.prediction_log`.';
COMMENT ON COLUMN sluice.shadow_sample.version IS 'The challenger.';
COMMENT ON COLUMN sluice.shadow_sample.divergence_id IS
    'The id of the row in `sluice.shadow_divergence` that it was counted in.';
