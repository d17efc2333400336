"""Challengers that score beside the champion, and how far their answers are from its."""

from alembic import op

revision = "0008"
down_revision = "0007"

TABLES = """
CREATE TABLE sluice.shadow_assignment (
    id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    model    text        NOT NULL,
    version  integer,
    actor    text        NOT NULL CHECK (actor <> ''),
    assigned_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    FOREIGN KEY (model, version) REFERENCES sluice.model_version
);
COMMENT ON TABLE sluice.shadow_assignment IS
    'Which version scores in the shadow of the champion: the newest row of a model is in force. Append-only.';

CREATE TABLE sluice.shadow_divergence (
    id                bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    model             text             NOT NULL,
    version           integer          NOT NULL,
    champion_version  integer          NOT NULL,
    partition_start   timestamptz      NOT NULL,
    row_count         bigint           NOT NULL,
    rank_correlation  double precision,
    decile_moves      double precision NOT NULL,
    label_flips       double precision,
    run_id            text             NOT NULL,
    measured_at                timestamptz      NOT NULL DEFAULT clock_timestamp(),
    FOREIGN KEY (model, version) REFERENCES sluice.model_version
);
CREATE INDEX ON sluice.shadow_divergence (model, version);
COMMENT ON TABLE sluice.shadow_divergence IS
    'How far a challenger''s scores of a partition are from the champion''s. Append-only.';

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON sluice.shadow_assignment
    FOR EACH STATEMENT EXECUTE FUNCTION sluice.refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON sluice.shadow_divergence
    FOR EACH STATEMENT EXECUTE FUNCTION sluice.refuse_change();
"""

# Who promotes looks at the divergence, and names the challenger; each role only where it was made (see 0003).
RIGHTS = """
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'sluice_operator') THEN
        GRANT SELECT, INSERT ON sluice.shadow_assignment TO sluice_operator;
        GRANT SELECT ON sluice.shadow_divergence TO sluice_operator;
    END IF;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'sluice_trainer') THEN
        GRANT SELECT ON sluice.shadow_assignment, sluice.shadow_divergence TO sluice_trainer;
    END IF;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'sluice_reader') THEN
        GRANT SELECT ON sluice.shadow_assignment, sluice.shadow_divergence TO sluice_reader;
    END IF;
END $$;
"""


def upgrade() -> None:
    """Make the tables, and say who may read them."""
    for block in (TABLES, RIGHTS):
        op.execute(block.replace(":", "\\:"))


def downgrade() -> None:
    """Remove them; the shadow scores themselves stay."""
    op.execute("DROP TABLE sluice.shadow_divergence, sluice.shadow_assignment")
