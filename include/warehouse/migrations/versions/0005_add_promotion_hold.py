"""Add promotion hold: a promotion reads holds and the ends of the data; a version knows what it was made from."""

from pathlib import Path

from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add the table of holds and the origin of a version; the promotion reads both in its transaction."""
    _run("upgrade")


def downgrade() -> None:
    """Forget the holds and the origins. A retrain promotes again whatever the gates accept."""
    _run("downgrade")


def _run(direction: str) -> None:
    statements = (Path(__file__).with_suffix("") / f"{direction}.sql").read_text(encoding="utf-8")
    # Straight to the driver: a colon or a percent sign in SQL means itself.
    op.get_bind().exec_driver_sql(statements, execution_options={"no_parameters": True})
