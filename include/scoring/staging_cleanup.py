"""Removal of staging tables that no attempt will publish."""

from __future__ import annotations

import logging
from datetime import timedelta

from sqlalchemy import Engine, text

from include.scoring.attempts import REPLACES, STAGING, Attempt, staging_name
from include.scoring.errors import database_errors

log = logging.getLogger(__name__)

_NAME = (
    "other.model || '_p' || to_char(other.partition_start AT TIME ZONE 'UTC', 'YYYYMMDD_HH24MI') "
    "|| '_a' || other.attempt"
)
_REPLACED = f"""
    EXISTS (
        SELECT FROM sluice.score_attempt AS one
        WHERE one.model = other.model AND one.partition_start = other.partition_start AND {REPLACES})
"""
_TABLES = f"""
    SELECT {_NAME} FROM sluice.score_attempt AS other
    JOIN pg_class ON relnamespace = to_regnamespace('{STAGING}') AND relname = {_NAME}
"""  # noqa: S608  # of constants


def drop_replaced(attempt: Attempt) -> None:
    """Drop the tables of attempts at the same partition that were replaced by newer ones."""
    key = attempt.key
    found = attempt.connection.execute(
        f"{_TABLES} WHERE other.model = %s AND other.partition_start = %s AND {_REPLACED}",
        [key.model, key.start],
    )
    for (name,) in found.fetchall():
        attempt.connection.execute(f'DROP TABLE IF EXISTS {STAGING}."{name}"')


def drop_of_plan(attempt: Attempt) -> None:
    """Drop the remaining staging tables of the attempt's plan, which is published or abandoned."""
    names = [
        row[0]
        for row in attempt.connection.execute(
            "SELECT attempt FROM sluice.score_attempt WHERE model = %s AND partition_start = %s AND attempt >= %s",
            [attempt.key.model, attempt.key.start, attempt.key.plan],
        )
    ]
    for number in names:
        name = staging_name(attempt.key.model, attempt.key.start, number)
        attempt.connection.execute(f'DROP TABLE IF EXISTS {STAGING}."{name}"')


def clean_staging(engine: Engine, older_than: timedelta) -> list[str]:
    """Drop the staging tables of replaced attempts, and of attempts that began more than `older_than` ago.

    Parameters
    ----------
    older_than : timedelta
        Longer than any run takes.

    Returns
    -------
    list of str
        The tables that were dropped.
    """
    with database_errors("cleaning schema staging"):
        with engine.connect() as connection:
            names = list(
                connection.scalars(
                    text(f"{_TABLES} WHERE {_REPLACED} OR other.started_at < clock_timestamp() - :age").bindparams(
                        age=older_than
                    )
                )
            )
        for name in names:
            log.info("dropping staging.%s: no attempt will publish it", name)
            with engine.begin() as connection:
                connection.exec_driver_sql(f'DROP TABLE IF EXISTS {STAGING}."{name}"')
    return names
