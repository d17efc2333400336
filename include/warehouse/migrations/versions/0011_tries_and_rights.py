"""Tries of a task have an order; functions are for whom they are meant; lineage names the promotion of then."""

from __future__ import annotations

from alembic import op

revision = "0011"
down_revision = "0010"

TRIES = """
ALTER TABLE sluice.score_attempt ADD COLUMN try_number integer NOT NULL DEFAULT 1 CHECK (try_number >= 1);
COMMENT ON COLUMN sluice.score_attempt.try_number IS
    'Which try of its task it is: once a later one of the same run has a number, an earlier one gets none';
COMMENT ON TABLE sluice.score_attempt IS
    'Every attempt at a score partition. A newer plan fences all older attempts; a newer attempt at the same '
    'shard or publication of a plan fences the older one; a publication fences the shards of its plan. Append-only.';
"""

TAKE = """
CREATE FUNCTION sluice.take_score_attempt(
    about_model text, about_start timestamptz, in_stage text, of_plan integer, of_shard integer, for_run text{parameter}
) RETURNS integer LANGUAGE plpgsql SET lock_timeout = '3s' AS $$
DECLARE
    number integer;
BEGIN
    PERFORM sluice.lock_score_partition(about_model, about_start);
    IF {refused} THEN
        RETURN NULL;
    END IF;
    SELECT coalesce(max(attempt), 0) + 1 INTO number
    FROM sluice.score_attempt WHERE model = about_model AND partition_start = about_start;
    INSERT INTO sluice.score_attempt
        (model, partition_start, attempt, stage, plan, shard, run_id, backend_pid, backend_start{column})
    SELECT about_model, about_start, number, in_stage, coalesce(of_plan, number), of_shard, for_run,
           pid, backend_start{value}
    FROM pg_stat_activity WHERE pid = pg_backend_pid();
    RETURN number;
END $$;
COMMENT ON FUNCTION sluice.take_score_attempt IS
    'Takes the next number for an attempt at a partition; null when {fenced}';
"""
NEWER_PLAN = """
    in_stage <> 'plan' AND EXISTS (
        SELECT FROM sluice.score_attempt
        WHERE model = about_model AND partition_start = about_start AND stage = 'plan' AND attempt > of_plan
    )"""
LATER_TRY = """ OR EXISTS (
        SELECT FROM sluice.score_attempt AS known
        WHERE known.model = about_model AND known.partition_start = about_start AND known.run_id = for_run
          AND known.stage = in_stage AND known.shard IS NOT DISTINCT FROM of_shard
          AND known.plan = coalesce(of_plan, known.plan) AND known.try_number > in_try
    )"""
PUBLISHED = """ OR in_stage = 'shard' AND EXISTS (
        SELECT FROM sluice.partition_publication AS published
        WHERE published.model = about_model AND published.partition_start = about_start AND published.attempt > of_plan
    )"""
FORMER_TAKE = TAKE.format(parameter="", refused=NEWER_PLAN, column="", value="", fenced="a newer plan has fenced it")
TAKE_BY_TRIES = TAKE.format(
    parameter=", in_try integer",
    refused=NEWER_PLAN + LATER_TRY + PUBLISHED,
    column=", try_number",
    value=", in_try",
    fenced="a newer plan, a later try of the same task or, of a shard, its publication has fenced it",
)

# Who scored by the champion of then did so on the promotion of then, whatever was promoted since.
LINEAGE = """
CREATE OR REPLACE VIEW sluice.score_lineage AS
SELECT published.model, published.partition_start, published.partition_end, published.sequence, published.row_count,
       published.rows_digest, published.run_id AS scored_by_run, published.published_at, published.mode,
       published.version, version.artifact_digest, version.spec_digest, version.data_digest,
       version.run_id AS trained_by_run, version.created_at AS registered_at,
       promotion.sequence AS promotion_sequence, promotion.actor AS promoted_by, promotion.reason AS promoted_because,
       promotion.promoted_at AS promoted_at, promotion.evidence_digest, version.evaluation, version.decision
FROM sluice.published_partition AS published
JOIN sluice.model_version AS version USING (model, version)
LEFT JOIN LATERAL (
    SELECT * FROM sluice.promotion
    WHERE promotion.model = published.model AND promotion.to_version = published.version
      AND promotion.promoted_at <= {until}
    ORDER BY promotion.sequence DESC LIMIT 1
) AS promotion ON true
"""
THEN = "CASE published.mode WHEN 'champion_then' THEN published.partition_end ELSE published.published_at END"

# By default everybody may call a function, and some of these write with their owner's rights.
RIGHTS = """
REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA sluice FROM PUBLIC;
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'sluice_reader') THEN
        GRANT EXECUTE ON FUNCTION sluice.log_predictions, sluice.raise_service_alert TO sluice_reader;
    END IF;
END $$;
"""


def upgrade() -> None:
    """Order tries, name the promotion that was in force, and take from everybody what is not theirs."""
    op.execute("DROP FUNCTION sluice.take_score_attempt")
    for block in (TRIES, TAKE_BY_TRIES, LINEAGE.format(until=THEN), RIGHTS):
        op.execute(block.replace(":", "\\:"))


def downgrade() -> None:
    """Go back to attempts without tries, to the former lineage, and to functions for everybody."""
    op.execute("DROP FUNCTION sluice.take_score_attempt")
    op.execute("ALTER TABLE sluice.score_attempt DROP COLUMN try_number")
    for block in (FORMER_TAKE, LINEAGE.format(until="published.published_at")):
        op.execute(block.replace(":", "\\:"))
    op.execute("GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA sluice TO PUBLIC")
    op.execute("REVOKE EXECUTE ON FUNCTION sluice.promote, sluice.approve, sluice.waive_approval FROM PUBLIC")
