-- The schemas, and the trigger of append-only tables: rows are added, never changed or removed.

CREATE SCHEMA IF NOT EXISTS source;
CREATE SCHEMA IF NOT EXISTS scores;
CREATE SCHEMA IF NOT EXISTS sluice;
CREATE SCHEMA IF NOT EXISTS sluice_jobs;
CREATE SCHEMA IF NOT EXISTS staging;
CREATE SCHEMA IF NOT EXISTS sluice_scratch;
COMMENT ON SCHEMA source IS 'The tables that models read. Sluice writes only its samples here.';
COMMENT ON SCHEMA scores IS 'The published scores: for each model a table, and a view of the newest score of each key.';
COMMENT ON SCHEMA sluice IS 'The ledger of versions and promotions, and the records of the steps.';
COMMENT ON SCHEMA sluice_jobs IS 'Asynchronous predictions until they expire. Their quotas bound its size.';
COMMENT ON SCHEMA staging IS 'Scores that are not published yet. Nobody reads them; Sluice removes what is left over.';
COMMENT ON SCHEMA sluice_scratch IS 'Rows that are being validated. They are removed when the validation ends.';

-- The database itself guarantees this, for every role.
CREATE FUNCTION sluice.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'sluice.% is append-only: % refused. Roll back by promoting an older version.',
        TG_TABLE_NAME, TG_OP;
END $$;
COMMENT ON FUNCTION sluice.refuse_change IS 'The trigger of append-only tables: refuses UPDATE, DELETE and TRUNCATE.';
