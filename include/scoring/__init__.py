"""A score partition from plan to publication, exactly once: all of it or none of it.

    plan → stage_shard, once a shard → publish

Each attempt takes a number (`attempts`); a shard's rows are read, scored and written at the same time
(`staging`); one transaction makes them the partition (`publication`).
"""

from include.scoring.errors import database_errors
from include.scoring.planning import plan, shard_condition
from include.scoring.publication import abandon, publish
from include.scoring.retention import drop_partitions
from include.scoring.rows import score_batches
from include.scoring.sample import ComparedVersion, measure_sample
from include.scoring.shadow_scores import measure_divergence, write_shadow
from include.scoring.staging import stage_shard
from include.scoring.staging_cleanup import clean_staging
from include.scoring.tables import ensure_score_table, score_columns

__all__ = [
    "ComparedVersion",
    "abandon",
    "clean_staging",
    "database_errors",
    "drop_partitions",
    "ensure_score_table",
    "measure_divergence",
    "measure_sample",
    "plan",
    "publish",
    "score_batches",
    "score_columns",
    "shard_condition",
    "stage_shard",
    "write_shadow",
]
