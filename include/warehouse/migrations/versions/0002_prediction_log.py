"""What the service was asked and answered, as a sample; and two narrow ways by which it may write."""

from alembic import op

revision = "0002"
down_revision = "0001"

TABLES = """
CREATE TABLE sluice.prediction_log (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    predicted_at          timestamptz NOT NULL,
    model       text        NOT NULL,
    version     integer     NOT NULL,
    request_id  text        NOT NULL,
    position    integer     NOT NULL DEFAULT 0 CHECK (position >= 0),
    inputs      jsonb       NOT NULL,
    outputs     jsonb       NOT NULL
);
CREATE INDEX ON sluice.prediction_log (model, predicted_at);
CREATE INDEX ON sluice.prediction_log (predicted_at);
COMMENT ON TABLE sluice.prediction_log IS
    'A sample of what the online service predicted, one row a predicted row (SLUICE_SERVICE_SAMPLE_RATE)';
COMMENT ON COLUMN sluice.prediction_log.position IS 'Which row of the request, counted from 0';
COMMENT ON COLUMN sluice.prediction_log.inputs IS 'Features as they were sent: a list in declared order, or an object';
COMMENT ON COLUMN sluice.prediction_log.outputs IS 'The prediction as it was answered';
"""

# The service's role reads, and may do two things more: these. They run with the owner's rights, so
# what a caller may ask of them is bounded here: nobody who may only read can empty the log.
FUNCTIONS = """
CREATE FUNCTION sluice.log_predictions(entries jsonb, keep interval) RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    WITH added AS (
        INSERT INTO sluice.prediction_log (predicted_at, model, version, request_id, position, inputs, outputs)
        SELECT predicted_at, model, version, request_id, position, inputs, outputs
        FROM jsonb_to_recordset(entries) AS entry(
            predicted_at timestamptz, model text, version integer, request_id text, position integer, inputs jsonb, outputs jsonb
        )
        RETURNING 1
    ), removed AS (
        DELETE FROM sluice.prediction_log WHERE id IN (
            SELECT id FROM sluice.prediction_log WHERE predicted_at < clock_timestamp() - greatest(keep, interval '1 day')
            ORDER BY predicted_at LIMIT 2000 FOR UPDATE SKIP LOCKED
        )
    )
    SELECT count(*) FROM added
$$;
COMMENT ON FUNCTION sluice.log_predictions IS
    'Adds entries, a JSON array of objects, to sluice.prediction_log; removes some older than keep (a day at least)';

CREATE FUNCTION sluice.raise_service_alert(about_model text, what text, why text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('sluice.raise_service_alert'));
    IF EXISTS (
        SELECT FROM sluice.alert
        WHERE dag_id = 'model_service' AND model = about_model AND run_id = what
          AND raised_at > clock_timestamp() - interval '1 hour'
    ) THEN
        RETURN false;
    END IF;
    INSERT INTO sluice.alert (model, dag_id, run_id, error) VALUES (about_model, 'model_service', what, why);
    RETURN true;
END $$;
COMMENT ON FUNCTION sluice.raise_service_alert IS
    'Raises an alert of the online service, once an hour for the same model and matter, however many workers see it';
"""


def upgrade() -> None:
    """Make the table and the functions."""
    for block in (TABLES, FUNCTIONS):
        op.execute(block.replace(":", "\\:"))


def downgrade() -> None:
    """Remove them."""
    op.execute("DROP FUNCTION sluice.raise_service_alert")
    op.execute("DROP FUNCTION sluice.log_predictions")
    op.execute("DROP TABLE sluice.prediction_log")
