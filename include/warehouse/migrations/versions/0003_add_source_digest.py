"""Add source digest: what a publication was made from, and a lineage that can be read in psql."""

from pathlib import Path

from alembic import op

revision = "0003"
down_revision = "0002"

_PUBLICATION = """
ALTER TABLE sluice.partition_publication ADD COLUMN source_digest text, ADD COLUMN unknown_categories jsonb;
COMMENT ON COLUMN sluice.partition_publication.source_digest IS
    'A digest of the source rows that were scored: key, event time and features. `sluice status` compares it with the '
    'rows of today. Null when it is unknown: the partition was published before digests were recorded.';
COMMENT ON COLUMN sluice.partition_publication.unknown_categories IS
    'The features of which rows have a category that the version does not know: for each `feature` the number of '
    '`rows`, and categories `near` to a known one. Null when it is unknown: the partition was published before they '
    'were counted.';
CREATE OR REPLACE VIEW sluice.published_partition AS
SELECT * FROM (
    SELECT DISTINCT ON (model, partition_start) *
    FROM sluice.partition_publication ORDER BY model, partition_start, sequence DESC
) AS newest
WHERE NOT EXISTS (
    SELECT FROM sluice.partition_removal AS removed
    WHERE (removed.model, removed.partition_start, removed.sequence)
        = (newest.model, newest.partition_start, newest.sequence)
);
COMMENT ON COLUMN sluice.published_partition.source_digest IS
    'A digest of the source rows that were scored, see `sluice.partition_publication`.';
COMMENT ON COLUMN sluice.published_partition.unknown_categories IS
    'The rows with categories that the version does not know, see `sluice.partition_publication`.';
"""

_LINEAGE = """
DROP VIEW sluice.score_lineage;
CREATE VIEW sluice.score_lineage AS
SELECT published.model, published.partition_start, published.partition_end, published.sequence, published.row_count,
       published.rows_digest, published.run_id AS scored_by_run, published.published_at, published.mode,
       published.version, version.artifact_digest, published.query_digest, version.spec_digest, version.data_digest,
       version.run_id AS trained_by_run, version.created_at AS registered_at,
       promotion.sequence AS promotion_sequence, promotion.actor AS promoted_by, promotion.reason AS promotion_reason,
       promotion.promoted_at, promotion.evidence_digest,
       (version.decision ->> 'accepted')::boolean AS accepted,
       (SELECT string_agg(gate ->> 'gate', ', ' ORDER BY place)
        FROM jsonb_array_elements(version.decision -> 'gates') WITH ORDINALITY AS gates (gate, place)
        WHERE NOT (gate ->> 'passed')::boolean) AS failed_gates,
       (version.evaluation ->> 'rows')::bigint AS holdout_rows,
       (SELECT string_agg(format('%s %s', metric, round(value::numeric, 4)), ', ' ORDER BY metric)
        FROM jsonb_each_text(version.evaluation -> 'candidate') AS metrics (metric, value)
        WHERE value ~ '^-?[0-9]') AS metrics
FROM sluice.published_partition AS published
JOIN sluice.model_version AS version USING (model, version)
LEFT JOIN LATERAL (
    SELECT * FROM sluice.promotion
    WHERE promotion.model = published.model AND promotion.to_version = published.version
      AND promotion.promoted_at
          <= CASE published.mode WHEN 'champion_then' THEN published.partition_end ELSE published.published_at END
    ORDER BY promotion.sequence DESC LIMIT 1
) AS promotion ON true;
COMMENT ON VIEW sluice.score_lineage IS
    'Where the scores of each published partition come from: the version that scored it, the data that the version was '
    'trained on, who promoted it and on what evidence. The promotion is the last one of that version before the '
    'publication or, in the mode `champion_then`, before the end of the partition; its columns are null when '
    'the version was never promoted.';
COMMENT ON COLUMN sluice.score_lineage.model IS 'The name of the model.';
COMMENT ON COLUMN sluice.score_lineage.partition_start IS 'Start of the partition.';
COMMENT ON COLUMN sluice.score_lineage.partition_end IS 'End of the partition; this moment is not included.';
COMMENT ON COLUMN sluice.score_lineage.sequence IS 'How many times the partition was published.';
COMMENT ON COLUMN sluice.score_lineage.row_count IS 'The number of rows.';
COMMENT ON COLUMN sluice.score_lineage.rows_digest IS 'A digest of the scores: equal digests mean equal scores.';
COMMENT ON COLUMN sluice.score_lineage.scored_by_run IS 'The run that published the partition.';
COMMENT ON COLUMN sluice.score_lineage.published_at IS 'When the partition was published.';
COMMENT ON COLUMN sluice.score_lineage.mode IS 'How the version was chosen, see `sluice.partition_publication`.';
COMMENT ON COLUMN sluice.score_lineage.version IS 'The version that scored the partition.';
COMMENT ON COLUMN sluice.score_lineage.artifact_digest IS 'The digest of that version''s artifact.';
COMMENT ON COLUMN sluice.score_lineage.query_digest IS
    'SHA-256 of the `features.sql` that the rows were read with: that of the version.';
COMMENT ON COLUMN sluice.score_lineage.spec_digest IS
    'SHA-256 of the `spec.py` and `features.sql` it was trained with.';
COMMENT ON COLUMN sluice.score_lineage.data_digest IS 'SHA-256 of the snapshot of data that it was trained on.';
COMMENT ON COLUMN sluice.score_lineage.trained_by_run IS 'The run that made the version.';
COMMENT ON COLUMN sluice.score_lineage.registered_at IS 'When the version was registered.';
COMMENT ON COLUMN sluice.score_lineage.promotion_sequence IS 'The sequence number of the promotion.';
COMMENT ON COLUMN sluice.score_lineage.promoted_by IS 'Who promoted the version.';
COMMENT ON COLUMN sluice.score_lineage.promotion_reason IS 'Why the version was promoted.';
COMMENT ON COLUMN sluice.score_lineage.promoted_at IS 'When the version was promoted.';
COMMENT ON COLUMN sluice.score_lineage.evidence_digest IS 'SHA-256 of the evidence that the promotion was based on.';
COMMENT ON COLUMN sluice.score_lineage.accepted IS 'Whether the gates accepted the version.';
COMMENT ON COLUMN sluice.score_lineage.failed_gates IS
    'The gates that it failed, separated by commas; null when it passed all. `sluice.model_version` has their '
    'sentences.';
COMMENT ON COLUMN sluice.score_lineage.holdout_rows IS 'The number of rows that it was evaluated on.';
COMMENT ON COLUMN sluice.score_lineage.metrics IS
    'Its metrics on them, such as `log_loss 0.4521, roc_auc 0.7382`. `sluice.model_version` has all digits, intervals '
    'and comparisons.';
"""

_GRANTS = """
DO $$
DECLARE
    reader text;
BEGIN
    FOR reader IN SELECT rolname FROM pg_roles WHERE rolname IN ('sluice_analyst', 'sluice_trainer') LOOP
        EXECUTE format('GRANT SELECT ON sluice.published_partition, sluice.score_lineage TO %I', reader);
    END LOOP;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'sluice_reader') THEN
        GRANT SELECT ON sluice.published_partition TO sluice_reader;
    END IF;
END $$;
"""
_REMOVE = """
DROP VIEW sluice.score_lineage, sluice.published_partition;
ALTER TABLE sluice.partition_publication DROP COLUMN source_digest, DROP COLUMN unknown_categories;
"""


def upgrade() -> None:
    """Record the digest of the source; show the lineage in columns instead of JSON."""
    _run(_PUBLICATION + _LINEAGE + _GRANTS)


def downgrade() -> None:
    """Take both back. The digests are lost; the publications stay."""
    first = (Path(__file__).parent / "0001_initial" / "03_scores.sql").read_text(encoding="utf-8")
    _run(_REMOVE + first[first.index("CREATE VIEW sluice.published_partition") :] + _GRANTS)


def _run(statements: str) -> None:
    # Without parameters: a percent sign or a colon means itself.
    op.get_bind().exec_driver_sql(statements, execution_options={"no_parameters": True})
