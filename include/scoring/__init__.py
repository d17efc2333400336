"""A score partition from rows to publication, exactly once: all of it or none of it."""

from include.scoring.publication import publish
from include.scoring.rows import score_batches
from include.scoring.tables import ensure_partition, ensure_score_table, score_columns

__all__ = ["ensure_partition", "ensure_score_table", "publish", "score_batches", "score_columns"]
