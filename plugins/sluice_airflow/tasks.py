"""Steps as Airflow tasks: the one wrapper around every task body.

A body imports `include.pipeline` when it runs, so that a DAG file parses in milliseconds. It opens the resources, calls
one function, and converts records to plain dicts at the boundary between tasks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from airflow.sdk import get_current_context, task

from include.flows import RETRAIN, SCORE, Step
from include.records import ModelVersion, Record, ScorePlan, ValidationReport
from include.spec import ModelSpec
from sluice_airflow import runs
from sluice_airflow.links import CardLink, DataDocsLink

if TYPE_CHECKING:
    from airflow.sdk import BaseOperatorLink, Context

    from include.resources import Resources

Tasks = dict[str, Any]
"""What the tasks of a flow return, as XComArgs, by the name of the result."""

Within = Callable[["Context", dict[str, Any]], AbstractContextManager[None]]
"""Given Airflow's context and the step's arguments by name."""

Then = Callable[["Context", dict[str, Any], Any], None]
"""Given Airflow's context, the step's arguments by name, and its result."""

WAIT_FOR_RETRAIN = 1800.0
"""Seconds that a task of a retrain waits for another retrain of the model, such as one of the command line."""

RECORDS: dict[str, type[Record]] = {step.gives: step.record for step in (*RETRAIN, *SCORE)}


def add_flow(
    spec: ModelSpec,
    flow: Sequence[Step],
    *,
    trainer: bool = False,
    outlets: Mapping[str, Sequence[Any]] | None = None,
    within: Mapping[str, Within] | None = None,
    then: Mapping[str, Then] | None = None,
    by_person: Callable[[Tasks], Any] | None = None,
) -> Tasks:
    """Add a task for each step of `flow` that the model declares, to the DAG that is being built.

    Parameters
    ----------
    trainer : bool
        Whether the tasks use the trainer's database role.
    outlets : mapping of str to sequence of asset
        The assets that a step's task updates, by the name of the step.
    within : mapping of str to callable
        By the name of a step: makes the context manager that the step runs in.
    then : mapping of str to callable
        By the name of a step: called in its task with the result.
    by_person : callable, optional
        Makes the task of the step that a person does, from the tasks before it.

    Returns
    -------
    dict of str to XComArg
    """
    tasks: Tasks = {}
    links: dict[type[Record], BaseOperatorLink] = {ModelVersion: CardLink(), ValidationReport: DataDocsLink(spec.name)}
    for step in (each for each in flow if each.declared(spec)):
        if step.by_person:
            assert by_person is not None  # noqa: S101  # a flow with such a step is added with it
            tasks[step.gives] = by_person(tasks)
            continue
        body = step_body(step, spec, trainer, (within or {}).get(step.name), (then or {}).get(step.name))
        made: Any = task(task_id=step.name, outlets=list((outlets or {}).get(step.name, ())))(body)
        earlier = [tasks[name] for name in step.after if name in tasks]
        inputs = {name: tasks[name] for name in step.takes if name in tasks}
        result = made.expand(inputs=inputs["plan"]) if step.each_shard else made(inputs=inputs)
        if step.record in links:
            result.operator.operator_extra_links = (links[step.record],)
        for each in earlier:
            each >> result
        tasks[step.gives] = result
    return tasks


def step_body(
    step: Step,
    spec: ModelSpec,
    trainer: bool,
    within: Within | None = None,
    then: Then | None = None,
) -> Callable[[dict[str, Any]], Any]:
    """Return the body of the task of `step`; its argument has the results of earlier tasks, by name."""

    def body(inputs: dict[str, Any]) -> Any:
        from include import pipeline

        context = get_current_context()
        values = {name: from_plain(name, plain) for name, plain in inputs.items()}
        values |= runs.values_of(spec, context, (name for name in step.takes if name not in values))
        opened = pipeline.open_trainer_resources if trainer else pipeline.open_resources
        with within(context, values) if within else nullcontext(), opened() as resources:
            locks = trainer and step.name != "promote"
            with pipeline.retrain_lock(resources.engine, spec.name, WAIT_FOR_RETRAIN) if locks else nullcontext():
                result = pipeline.run_step(step, spec, values, resources)
        if then is not None:
            then(context, values, result)
        return to_plain(result)

    return body


def with_pipeline(work: Callable[[Any, Resources], Any]) -> Any:
    """Call `work` with the module `include.pipeline` and the opened resources; return its result as plain values."""
    from include import pipeline

    with pipeline.open_resources() as resources:
        return to_plain(work(pipeline, resources))


def to_plain(result: Any) -> Any:
    """Return a step's result in the form that the next tasks get.

    A plan becomes a list with the inputs of each shard's task, over which Airflow maps them.
    """
    if isinstance(result, ScorePlan):
        plan = result.to_plain()
        return [{"plan": plan, "shard": shard} for shard in range(result.shards)]
    return result.to_plain() if isinstance(result, Record) else result


def from_plain(name: str, plain: Any) -> Any:
    """Return the result `name` of which `to_plain` returned `plain`; the number of a shard is returned unchanged."""
    if name == "plan" and not isinstance(plain, dict):
        plain = plain[0]["plan"]
    if name not in RECORDS:
        return plain
    record = RECORDS[name]
    return record.from_plain(plain) if isinstance(plain, dict) else [record.from_plain(each) for each in plain]
