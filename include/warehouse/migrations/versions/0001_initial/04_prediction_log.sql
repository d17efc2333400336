-- A sample of what the online service predicted. The service's role may only read; it writes by the function.

CREATE TABLE sluice.prediction_log (
    id            bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    predicted_at  timestamptz NOT NULL,
    model         text        NOT NULL,
    version       integer     NOT NULL,
    request_id    text        NOT NULL,
    position      integer     NOT NULL DEFAULT 0 CHECK (position >= 0),
    inputs        jsonb       NOT NULL,
    outputs       jsonb       NOT NULL
);
CREATE INDEX ON sluice.prediction_log (model, predicted_at);
CREATE INDEX ON sluice.prediction_log (predicted_at);
COMMENT ON TABLE sluice.prediction_log IS
    'A sample of the predictions of the online service, one row for each predicted row. It is empty unless '
    '`SLUICE_SERVICE_SAMPLE_RATE` is above 0.';
COMMENT ON COLUMN sluice.prediction_log.id IS 'A number that identifies the row.';
COMMENT ON COLUMN sluice.prediction_log.predicted_at IS 'When the row was predicted.';
COMMENT ON COLUMN sluice.prediction_log.model IS 'The name of the model.';
COMMENT ON COLUMN sluice.prediction_log.version IS 'The version that predicted.';
COMMENT ON COLUMN sluice.prediction_log.request_id IS
    'The id of the request, as the response and the access log give it.';
COMMENT ON COLUMN sluice.prediction_log.position IS 'The position of the row in its request, counted from 0.';
COMMENT ON COLUMN sluice.prediction_log.inputs IS
    'The features as the client sent them: a list in declared order, or an object.';
COMMENT ON COLUMN sluice.prediction_log.outputs IS 'The prediction as it was returned.';

-- It runs with the owner's rights, so it limits what a caller may ask: nobody who may only read can empty the log.
CREATE FUNCTION sluice.log_predictions(entries jsonb, retention interval) RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    WITH added AS (
        INSERT INTO sluice.prediction_log (predicted_at, model, version, request_id, position, inputs, outputs)
        SELECT predicted_at, model, version, request_id, position, inputs, outputs
        FROM jsonb_to_recordset(entries) AS entry(
            predicted_at timestamptz, model text, version integer, request_id text, position integer,
            inputs jsonb, outputs jsonb
        )
        RETURNING 1
    ), removed AS (
        DELETE FROM sluice.prediction_log WHERE id IN (
            SELECT id FROM sluice.prediction_log
            WHERE predicted_at < clock_timestamp() - greatest(retention, interval '1 day')
            ORDER BY predicted_at LIMIT 2000 FOR UPDATE SKIP LOCKED
        )
    )
    SELECT count(*) FROM added
$$;
COMMENT ON FUNCTION sluice.log_predictions IS
    'Adds entries, a JSON array of objects, to sluice.prediction_log, and removes some rows that are older than '
    'the retention (at least one day).';
