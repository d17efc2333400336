"""One Airflow DAG per declared model that scores its partitions: ``score_<model>``."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, CronDataIntervalTimetable

from include.flows import SCORE
from include.models import declared_models
from include.settings import load_settings
from include.spec import ModelSpec
from sluice_airflow import assets, dag_docs, dag_params, runs, waiting
from sluice_airflow.defaults import model_dag_defaults
from sluice_airflow.tasks import add_flow


def build(spec: ModelSpec) -> DAG:
    """Return the DAG that scores partitions with the champion of the model of `spec`."""
    settings, page = model_dag_defaults(spec, "score", timedelta(hours=1)), dag_docs.score_page(spec)
    schedule = CronDataIntervalTimetable(spec.score_schedule, spec.score_timezone) if spec.score_schedule else None
    scores = assets.scores(spec.name)
    at_once = runs.max_active_scores(spec)
    with DAG(schedule=schedule, max_active_runs=at_once, params=dag_params.SCORE, doc_md=page, **settings) as dag:
        tasks = add_flow(
            spec,
            SCORE,
            outlets={"publish": [scores], "late_rows": [scores] if spec.scoring.late_rows == "rescore" else []},
            within={"validate": lambda context, _: waiting.validation_of_run(spec, context)},
            then={
                "publish": lambda context, _, published: assets.announce_partition(context, published),
                "check_online_parity": lambda *values: runs.skip_if_not_checked(values[-1]),
                "late_rows": lambda context, _, late: assets.announce_rescored(spec, context, late),
            },
        )
        if spec.score_start.longest:
            waiting.add_wait(spec, tasks["report"])
    return dag


for each in declared_models(load_settings().models_dir).specs.values():
    globals()[f"score_{each.name}"] = build(each)
