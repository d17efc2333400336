"""Add incidents: one for each cause, the messages about it that are to be delivered, and silences."""

from pathlib import Path

from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Add the tables; alerts become the occurrences of incidents, and deliveries are those of messages."""
    _run("upgrade")


def downgrade() -> None:
    """Forget incidents, messages and silences. The alerts stay; each counts as delivered."""
    _run("downgrade")


def _run(direction: str) -> None:
    statements = (Path(__file__).with_suffix("") / f"{direction}.sql").read_text(encoding="utf-8")
    # Straight to the driver: a colon or a percent sign in SQL means itself.
    op.get_bind().exec_driver_sql(statements, execution_options={"no_parameters": True})
