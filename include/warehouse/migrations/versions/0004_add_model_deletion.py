"""Add model deletion: what belongs to a deleted model is history, which nothing uses any more."""

from pathlib import Path

from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add the table of deletions, and let the champion, the published partitions and the guards know of it."""
    _run("upgrade")


def downgrade() -> None:
    """Forget the deletions. Versions of a deleted model count again, although their artifacts are gone."""
    _run("downgrade")


def _run(direction: str) -> None:
    statements = (Path(__file__).with_suffix("") / f"{direction}.sql").read_text(encoding="utf-8")
    # Straight to the driver: a colon or a percent sign in SQL means itself.
    op.get_bind().exec_driver_sql(statements, execution_options={"no_parameters": True})
