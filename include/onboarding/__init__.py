"""A table or a CSV file becomes a declared model: `sluice new NAME --from-table` and `--from-csv`.

`reading` measures the table, `roles` and `periods` propose what its columns and its rows are (without a database),
`trial` tries features and estimators on a sample, and `rendering` writes ``spec.py`` and ``features.sql``.
"""

from include.onboarding.csv_file import declare_from_csv, parse_time_from_order
from include.onboarding.declaration import Onboarded, columns_of, declare_from_table
from include.onboarding.records import ProposalOptions

__all__ = [
    "Onboarded",
    "ProposalOptions",
    "columns_of",
    "declare_from_csv",
    "declare_from_table",
    "parse_time_from_order",
]
