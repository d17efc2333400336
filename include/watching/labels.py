"""Whether labels come: counts the labelled rows of a period, through the model's own query."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Engine

from include.spec import ModelSpec
from include.spec.features_query import bind_period
from include.watching.state import LabelCount

LABEL_PERIOD: Final = timedelta(days=1)
_TIMEOUT_SECONDS: Final = 60


def count_labels(engine: Engine, spec: ModelSpec, now: datetime) -> LabelCount | None:
    """Count the rows, and those with a label, of the last day whose labels are due; None if the model declares no date.

    It reads the model's source, so it is for a look every hour, not for every look.

    Raises
    ------
    SQLAlchemyError
        When the query fails, or takes longer than a minute.
    """
    labels_by = spec.freshness.labels_by
    if labels_by is None:
        return None
    end = now - labels_by
    start = end - LABEL_PERIOD
    rows = bind_period(spec.query.text, start, end)
    statement = f'SELECT count(*), count("{spec.target.column}") FROM (\n{rows}\n) AS rows_due'  # noqa: S608  # a checked name
    with engine.connect() as connection:
        connection.exec_driver_sql(f"SET LOCAL statement_timeout = '{_TIMEOUT_SECONDS}s'")
        # Without parameters: a percent sign or a colon means itself.
        found = connection.exec_driver_sql(statement, execution_options={"no_parameters": True}).one()
    return LabelCount(start, end, int(found[0]), int(found[1]))
