"""Who asked for a version, so that no other way of approving is open to them; divergence on sampled online requests."""

from alembic import op

revision = "0009"
down_revision = "0008"

REQUESTER = """
ALTER TABLE sluice.model_version ADD COLUMN requested_by text CHECK (requested_by <> '');
COMMENT ON COLUMN sluice.model_version.requested_by IS
    'Who triggered the run; null: its schedule, or it was registered before this was known';
"""

# What the ledger knows counts before what the caller says: the constraint not_by_oneself is held against it.
APPROVE = """
CREATE OR REPLACE FUNCTION sluice.approve(
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
    SELECT of_model, of_version, evidence, verdict, by_approver, {requester}, because,
           (SELECT coalesce(max(sequence), 0) FROM sluice.promotion WHERE promotion.model = of_model),
           (SELECT max(known.version) FROM sluice.model_version AS known WHERE known.model = of_model)
    RETURNING made.*;
END $$;
"""
AS_CALLED = "for_requester"
AS_REGISTERED = """coalesce(
               (SELECT known.requested_by FROM sluice.model_version AS known
                WHERE known.model = of_model AND known.version = of_version),
               for_requester)"""

# A row of the log counts once for each challenger: the key says so, whatever runs at the same time. When the log
# forgets a row, so does the sample.
SAMPLE = """
ALTER TABLE sluice.shadow_divergence
    ADD COLUMN source text NOT NULL DEFAULT 'batch' CHECK (source IN ('batch', 'online')),
    ADD COLUMN sampled_from timestamptz,
    ADD COLUMN sampled_to timestamptz,
    ADD COLUMN refused_rows bigint NOT NULL DEFAULT 0 CHECK (refused_rows >= 0),
    ALTER COLUMN partition_start DROP NOT NULL,
    ADD CONSTRAINT of_partition_or_sample CHECK (
        (source = 'batch') = (partition_start IS NOT NULL)
        AND (source = 'online') = (sampled_from IS NOT NULL AND sampled_to IS NOT NULL)
    );
COMMENT ON TABLE sluice.shadow_divergence IS
    'How far a challenger''s scores of a partition, or of sampled requests, are from the champion''s. Append-only.';
COMMENT ON COLUMN sluice.shadow_divergence.source IS 'batch: a partition; online: a sample of requests';

CREATE TABLE sluice.shadow_sample (
    prediction_id  bigint  NOT NULL REFERENCES sluice.prediction_log ON DELETE CASCADE,
    version        integer NOT NULL,
    divergence_id  bigint  NOT NULL REFERENCES sluice.shadow_divergence,
    PRIMARY KEY (prediction_id, version)
);
CREATE INDEX ON sluice.shadow_sample (divergence_id);
COMMENT ON TABLE sluice.shadow_sample IS
    'Which rows of the prediction log a challenger was measured on: each once. Gone when the log forgets the row.';
"""

RIGHTS = """
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'sluice_reader') THEN
        GRANT SELECT ON sluice.shadow_sample TO sluice_reader;
    END IF;
END $$;
"""

BACK = """
DROP TABLE sluice.shadow_sample;
ALTER TABLE sluice.shadow_divergence DISABLE TRIGGER append_only;
DELETE FROM sluice.shadow_divergence WHERE source = 'online';
ALTER TABLE sluice.shadow_divergence ENABLE TRIGGER append_only;
ALTER TABLE sluice.shadow_divergence
    DROP COLUMN source, DROP COLUMN sampled_from, DROP COLUMN sampled_to, DROP COLUMN refused_rows,
    ALTER COLUMN partition_start SET NOT NULL;
COMMENT ON TABLE sluice.shadow_divergence IS
    'How far a challenger''s scores of a partition are from the champion''s. Append-only.';
"""


def upgrade() -> None:
    """Add the columns and the table; have `sluice.approve` ask the ledger who asked."""
    for block in (REQUESTER, APPROVE.format(requester=AS_REGISTERED), SAMPLE, RIGHTS):
        op.execute(block.replace(":", "\\:"))


def downgrade() -> None:
    """Remove them; what was measured on sampled requests goes with them."""
    for block in (BACK, APPROVE.format(requester=AS_CALLED)):
        op.execute(block.replace(":", "\\:"))
    op.execute("ALTER TABLE sluice.model_version DROP COLUMN requested_by")
