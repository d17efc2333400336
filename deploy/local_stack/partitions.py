"""Published score partitions, and their rows compared with the source."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from sqlalchemy import Engine, text

from deploy.local_stack.errors import LocalStackError
from include.models import declared_models
from include.records import Period
from include.warehouse import url_of
from include.warehouse.feature_source import PostgresFeatureSource


@dataclass(frozen=True, slots=True)
class PartitionCount:
    """A published day: the version that scored it, its score rows, and the rows of the source."""

    day: date
    version: int
    rows: int
    source_rows: int


@dataclass(frozen=True, slots=True)
class PublishedPartitions:
    """The published partitions of declared models.

    Parameters
    ----------
    engine : sqlalchemy.Engine
    models_dir : Path
        Where the models are declared.
    """

    engine: Engine
    models_dir: Path

    def published(self, model: str) -> dict[date, tuple[int, int]]:
        """Return the published days, each with version and row count."""
        query = text(
            "SELECT DISTINCT ON (partition_start) partition_start, version, row_count "
            "FROM sluice.partition_publication WHERE model = :model ORDER BY partition_start, sequence DESC"
        )
        with self.engine.connect() as connection:
            rows = connection.execute(query, {"model": model}).all()
        return {start.astimezone(UTC).date(): (int(version), int(count)) for start, version, count in rows}

    def row_counts(self, model: str, days: Sequence[date]) -> list[PartitionCount]:
        """Count, for each of `days` that is published, the rows of the score table and those of the source."""
        published = self.published(model)
        spec = declared_models(self.models_dir)[model]
        counted, source = [], PostgresFeatureSource(url_of(self.engine))
        with self.engine.connect() as connection:
            for day in (each for each in days if each in published):
                period = Period.of_day(day)
                scored = connection.execute(
                    text(f'SELECT count(*) FROM scores."{model}" WHERE partition_start = :start'),  # noqa: S608  # a declared name
                    {"start": period.start},
                ).scalar_one()
                counted.append(PartitionCount(day, published[day][0], int(scored), source.count(spec.query, period)))
        return counted

    def reconcile(self, model: str, days: Sequence[date]) -> None:
        """Check that each of `days` has one score row for each row of the source.

        Raises
        ------
        LocalStackError
            For the first day that has more or fewer.
        """
        for each in self.row_counts(model, days):
            if each.rows != each.source_rows:
                raise LocalStackError(
                    f"expected {each.source_rows} rows in scores.{model} for {each.day}, one for each row of the "
                    f"source; found {each.rows}.",
                    f"Run score_{model} for that day again in Airflow. Publications: sluice.partition_publication.",
                )


def last_days(count: int, now: datetime) -> list[date]:
    """Return the `count` whole UTC days before `now`, oldest first."""
    today = now.astimezone(UTC).date()
    return [today - timedelta(days=back) for back in range(count, 0, -1)]
