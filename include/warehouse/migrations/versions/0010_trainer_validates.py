"""What validation asks of the trainer's role: a schema to put rows into for its length, and to replace its report."""

from __future__ import annotations

from alembic import op

revision = "0010"
down_revision = "0009"

# Validation made the schema itself before: a login that may do that to the database may do too much.
SCHEMA = """
CREATE SCHEMA IF NOT EXISTS sluice_scratch;
COMMENT ON SCHEMA sluice_scratch IS 'Rows that are being validated, for the length of a validation'
"""

RIGHTS = """
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'sluice_trainer') THEN
        GRANT USAGE, CREATE ON SCHEMA sluice_scratch TO sluice_trainer;
        GRANT DELETE ON sluice.validation_result TO sluice_trainer;
    END IF;
END $$
"""


def upgrade() -> None:
    """Make the schema, and grant both where the role is there."""
    for block in (SCHEMA, RIGHTS):
        op.execute(block)


def downgrade() -> None:
    """Take both back, with the schema."""
    op.execute("DROP SCHEMA sluice_scratch CASCADE")
    op.execute(
        "DO $$ BEGIN IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'sluice_trainer') THEN"
        " REVOKE DELETE ON sluice.validation_result FROM sluice_trainer; END IF; END $$"
    )
