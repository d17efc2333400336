"""The first schema, in the SQL files of the folder beside this one, which are run in the order of their names."""

from pathlib import Path

from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the schemas, what is in them, and the roles where that is allowed."""
    for file in sorted(Path(__file__).with_suffix("").glob("*.sql")):
        statements = file.read_text(encoding="utf-8")
        # Without parameters: a percent sign or a colon in the file means itself.
        op.get_bind().exec_driver_sql(statements, execution_options={"no_parameters": True})


def downgrade() -> None:
    """Remove Sluice's own schemas. The users' tables and the scores stay; so do the roles, which others may use."""
    op.execute("DROP SCHEMA sluice_scratch, staging, sluice_jobs, sluice CASCADE")
