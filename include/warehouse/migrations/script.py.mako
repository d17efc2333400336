"""${message}."""

from alembic import op

revision = "${up_revision}"
down_revision = "${down_revision}"

# Give each new table and column a COMMENT, and grant what the roles need (see 0001_initial/09_roles.sql).
UPGRADE = """
"""
DOWNGRADE = """
"""


def upgrade() -> None:
    """Run the SQL of the change."""
    op.execute(UPGRADE)


def downgrade() -> None:
    """Run the SQL that takes the change back."""
    op.execute(DOWNGRADE)
