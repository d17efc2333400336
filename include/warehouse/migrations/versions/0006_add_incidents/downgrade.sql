ALTER TABLE sluice.alert
    DROP COLUMN kind, DROP COLUMN subject, DROP COLUMN needs_nobody, DROP COLUMN incident_id, DROP COLUMN spool_id,
    ADD COLUMN channels text[] NOT NULL DEFAULT '{}', ADD COLUMN delivered boolean NOT NULL DEFAULT false;
UPDATE sluice.alert SET delivered = true;
COMMENT ON TABLE sluice.alert IS 'The alerts that were raised, and whether they were delivered.';
COMMENT ON COLUMN sluice.alert.channels IS
    'The channels it was sent to: `name` when the channel accepted it, `name: why` when it did not.';
COMMENT ON COLUMN sluice.alert.delivered IS
    'Whether every channel accepted it. The DAG `housekeeping` sends it again to those that did not.';
DROP TABLE sluice.alert_message, sluice.alert_silence, sluice.incident_event, sluice.incident;
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'sluice_trainer') THEN
        GRANT UPDATE (channels, delivered) ON sluice.alert TO sluice_trainer;
    END IF;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'sluice_operator') THEN
        REVOKE SELECT, INSERT ON sluice.alert FROM sluice_operator;
    END IF;
END $$;
