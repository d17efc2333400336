"""``sluice status``: what is wrong now, worst first; then each model with its champion and its newest partition."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Collection, Iterable, Iterator, Sequence

from include.cli.exit_status import FAILED
from include.cli.late_rows import late_rows
from include.cli.output import show
from include.cli.versions import card_location
from include.models import DeclaredModels
from include.records import Problem, Promotion, PromotionHold, PublishedPartition, Record
from include.registry import active_holds
from include.resources import Resources
from include.schedule import local_day
from include.spec import ModelSpec
from include.steps.watch import find_problems_now
from include.watching import pages


class ModelRow(Record):
    """A declared model: its champion, the number of its versions, its newest partition, and what is late."""

    model: str
    champion: Promotion | None
    versions: int
    newest_partition: PublishedPartition | None
    card: str | None
    late_rows: tuple[str, ...]
    hold: PromotionHold | None = None


def status(arguments: Namespace, models: DeclaredModels, resources: Resources) -> int:
    """Show the problems, and every declared model; or those of one model, and those of no single model.

    Returns
    -------
    int
        1 if a problem is a page: somebody should act now. 0 otherwise.

    Raises
    ------
    UnknownModelError
        When no model of this name is declared, and the ledger has no problem with it.
    """
    problems = find_problems_now(models, resources, resources.clock())
    named: str | None = arguments.model
    if named is not None:
        problems = tuple(each for each in problems if each.model in (None, named))
        if all(each.model != named for each in problems):
            models[named]  # raises the error that lists the declared models
    names = [name for name in models.specs if named in (None, name)]
    rows = _rows([models.specs[name] for name in names], resources)
    broken = [str(error) for error in models.broken if named in (None, error.file.parent.name)]
    document = {"problems": problems, "models": rows, "broken": broken}
    show(arguments, document, _lines(problems, rows, broken, models))
    return FAILED if pages(problems) else 0


def _rows(specs: Iterable[ModelSpec], resources: Resources) -> list[ModelRow]:
    champions, holds = resources.ledger.champions(), active_holds(resources.engine)
    return [_row(spec, champions.get(spec.name), holds.get(spec.name), resources) for spec in specs]


def _row(spec: ModelSpec, champion: Promotion | None, hold: PromotionHold | None, resources: Resources) -> ModelRow:
    published = resources.ledger.published_partitions(spec.name)
    return ModelRow(
        model=spec.name,
        champion=champion,
        versions=len(resources.ledger.version_numbers(spec.name)),
        newest_partition=published[-1] if published else None,
        card=_card(spec.name, champion.to_version, resources) if champion else None,
        late_rows=tuple(late_rows(spec, resources)),
        hold=hold,
    )


def _card(model: str, version: int, resources: Resources) -> str:
    return card_location(resources.ledger.version(model, version), resources)


def _lines(
    problems: Sequence[Problem], rows: Iterable[ModelRow], broken: Collection[str], models: DeclaredModels
) -> Iterator[str]:
    for problem in problems:
        yield from _problem_lines(problem)
    for row in rows:
        yield from _model_lines(row, models.specs[row.model])
    for error in broken:
        yield f"broken: {error}"


def _problem_lines(problem: Problem) -> Iterator[str]:
    yield f"{problem.severity.upper()} {problem.kind}: {problem.summary}"
    yield f"  now: {problem.impact}"
    yield f"  do: {problem.next_step}"


def _model_lines(row: ModelRow, spec: ModelSpec) -> Iterator[str]:
    champion, newest = row.champion, row.newest_partition
    held = "no champion"
    if champion:
        held = f"champion version {champion.to_version} since {champion.promoted_at:%Y-%m-%d %H:%M} UTC"
    scored = "nothing scored"
    if newest:
        day = local_day(newest.partition_start, timezone=spec.score_timezone)
        count = f"{newest.row_count:,} rows" if newest.row_count else "empty: the source had no rows"
        scored = f"newest partition {day} ({count})"
    yield f"{row.model}: {held}, {row.versions} version(s) registered, {scored}"
    if row.hold:
        yield f"  held: {row.hold.sentence}; `sluice hold {row.model} --lift --reason ...` ends it"
    if row.card:
        yield f"  its card: {row.card}"
    yield from (f"  {line}" for line in row.late_rows)
