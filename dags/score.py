"""One Airflow DAG per declared model that scores its partitions: ``score_<model>``."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import DAG, CronDataIntervalTimetable, task

from include.models import declared_models
from include.records import PublishedPartition, ScorePlan, StagedShard, ValidationReport
from include.settings import load_settings
from include.spec import ModelSpec
from sluice_airflow import assets, dag_docs, dag_params, runs
from sluice_airflow.defaults import model_dag_defaults


def build(spec: ModelSpec) -> DAG:
    """Return the DAG that scores partitions with the champion of the model of `spec`."""
    scores = assets.scores(spec.name)

    @task
    def validate(run_id: str, dag_run: Any, params: dict[str, Any]) -> dict[str, Any]:
        from include import pipeline

        period = runs.partition_of(spec, dag_run, params["partition"])
        with pipeline.open_resources() as resources:
            return pipeline.validate_partition(spec, run_id, period, resources).to_plain()

    @task
    def plan(
        validated: dict[str, Any], run_id: str, dag_run: Any, params: dict[str, Any], ti: Any
    ) -> list[dict[str, Any]]:
        from include import pipeline

        report, options = ValidationReport.from_plain(validated), runs.scoring_options(dag_run, params)
        with pipeline.open_resources() as resources, runs.skip_without_champion(dag_run):
            planned = pipeline.plan_partition(spec, report, run_id, resources, **options, try_number=ti.try_number)
        return [{"plan": planned.to_plain(), "shard": shard} for shard in range(planned.shards)]

    @task
    def score(work: dict[str, Any], ti: Any) -> dict[str, Any]:
        from include import pipeline

        with pipeline.open_resources() as resources:
            planned = ScorePlan.from_plain(work["plan"])
            return pipeline.score_shard(spec, planned, work["shard"], resources, ti.try_number).to_plain()

    @task(outlets=[scores])
    def publish(
        works: list[dict[str, Any]], shards: list[dict[str, Any]], outlet_events: Any, ti: Any
    ) -> dict[str, Any]:
        from include import pipeline

        staged = [StagedShard.from_plain(shard) for shard in shards]
        with pipeline.open_resources() as resources:
            planned = ScorePlan.from_plain(works[0]["plan"])
            published = pipeline.publish_partition(spec, planned, staged, resources, ti.try_number)
        assets.announce_partition(outlet_events[scores], published)
        return published.to_plain()

    @task
    def check_online_parity(announced: dict[str, Any]) -> dict[str, Any]:
        from include import pipeline

        with pipeline.open_resources() as resources:
            check = pipeline.check_online_parity(spec, PublishedPartition.from_plain(announced), resources)
        runs.skip_if_not_checked(check)
        return check.to_plain()

    @task
    def shadow(announced: dict[str, Any], run_id: str) -> dict[str, Any] | None:
        from include import pipeline

        with pipeline.open_resources() as resources:
            published = PublishedPartition.from_plain(announced)
            found = pipeline.shadow_partition(spec, published, run_id, resources)
        return found and found.to_plain()

    settings = model_dag_defaults(spec, "score", timedelta(hours=1))
    schedule = CronDataIntervalTimetable(spec.score_schedule, timezone="UTC") if spec.score_schedule else None
    page = dag_docs.score_page(spec)
    with DAG(schedule=schedule, max_active_runs=4, params=dag_params.SCORE, doc_md=page, **settings) as dag:
        planned = plan(validate())
        published = publish(planned, score.expand(work=planned))
        if spec.scoring.parity == "alert":
            check_online_parity(published)
        if spec.shadow is not None:
            shadow(published)
    return dag


for each in declared_models(load_settings().models_dir).specs.values():
    globals()[f"score_{each.name}"] = build(each)
