"""Require reasons: what people wrote for a decision is trimmed, and has at least ten characters."""

from alembic import op

revision = "0002"
down_revision = "0001"

# `include.reasons` is stricter: it knows every invisible character. This is for those who write with SQL.
_BLANKS = r"E' \t\n\r\f\x0b\u00a0\u2007\u200b\u202f\u2060\u3000\ufeff'"
_REASON = f"char_length(btrim({{column}}, {_BLANKS})) >= 10 AND {{column}} = btrim({{column}}, {_BLANKS})"

# A decision that timed out is nobody's, and has no comment.
_CHECKED = {
    "promotion": ("reason", "{rule}"),
    "partition_removal": ("reason", "{rule}"),
    "approval": ("comment", "decision = 'timed out' OR {rule}"),
    "approval_waiver": ("reason", "{rule}"),
    "attestation": ("statement", "{rule}"),
}


def upgrade() -> None:
    """Add a constraint to each table. Rows from before are not checked: they are history, and stay as they are."""
    for table, (column, check) in _CHECKED.items():
        rule = check.format(rule=f"({_REASON.format(column=column)})")
        # Straight to the driver: a colon or a percent sign in SQL means itself.
        op.get_bind().exec_driver_sql(
            f"ALTER TABLE sluice.{table} ADD CONSTRAINT {column}_is_given CHECK ({rule}) NOT VALID"
        )


def downgrade() -> None:
    """Drop the constraints."""
    for table, (column, _) in _CHECKED.items():
        op.execute(f"ALTER TABLE sluice.{table} DROP CONSTRAINT {column}_is_given")
