"""A score partition from plan to publication: published exactly once, and as a whole or not at all.

    plan → stage_shard, for each shard → publish

Each attempt has a number (`attempts`). The rows of a shard are read, scored and written at the same time (`staging`).
One transaction makes the shards the partition (`publication`).
"""

from include.scoring.deletion import ScoreRelations, drop_relations, find_relations
from include.scoring.errors import database_errors
from include.scoring.planning import plan, shard_of
from include.scoring.publication import abandon, publish
from include.scoring.retention import drop_partitions, expired_partitions
from include.scoring.rows import score_batches
from include.scoring.sample import ComparedVersion, measure_sample
from include.scoring.shadow_scores import measure_divergence, write_shadow
from include.scoring.staging import stage_shard
from include.scoring.staging_cleanup import clean_staging
from include.scoring.tables import check_score_table, ensure_score_table

__all__ = [
    "ComparedVersion",
    "ScoreRelations",
    "abandon",
    "check_score_table",
    "clean_staging",
    "database_errors",
    "drop_partitions",
    "drop_relations",
    "ensure_score_table",
    "expired_partitions",
    "find_relations",
    "measure_divergence",
    "measure_sample",
    "plan",
    "publish",
    "score_batches",
    "shard_of",
    "stage_shard",
    "write_shadow",
]
