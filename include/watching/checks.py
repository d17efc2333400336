"""What is wrong: the problems of a `WatchState`, one for each cause. Pure: the time is an argument.

A problem that follows from another is not reported: a paused DAG is one problem, not one with the partitions that are
late because of it. `_Look` has the rules.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from types import MappingProxyType
from typing import Final, Literal, NamedTuple

from include.records import IncidentSeverity, Problem, as_argument
from include.spec import ModelSpec
from include.watching.expected import ExpectedPartition, expected_partitions
from include.watching.processes import WATCHER
from include.watching.state import (
    AirflowState,
    ChampionState,
    ImportFailure,
    LedgerState,
    RefusedArtifact,
    ServiceState,
    WatchState,
)

Source = Literal["files", "ledger", "airflow", "service", "disk", "heartbeats", "labels"]


class Kind(NamedTuple):
    """A kind of problem: how bad it is, and what must be readable to judge it."""

    severity: IncidentSeverity
    source: Source


KINDS: Final[Mapping[str, Kind]] = MappingProxyType(
    {
        "database_down": Kind("page", "files"),
        "dead_scheduler": Kind("page", "airflow"),
        "dead_dag_processor": Kind("page", "airflow"),
        "service_down": Kind("page", "files"),
        "late_partition": Kind("page", "ledger"),
        "refused_artifact": Kind("page", "service"),
        "version_mismatch": Kind("page", "service"),
        "broken_declaration": Kind("page", "files"),
        "import_error": Kind("page", "airflow"),
        "missing_dag": Kind("page", "airflow"),
        "dead_triggerer": Kind("ticket", "airflow"),
        "dead_watcher": Kind("ticket", "heartbeats"),
        "disk_filling": Kind("ticket", "disk"),  # a page when little is left, see `PAGED_SHARE`
        "airflow_unreadable": Kind("ticket", "files"),
        "paused_dag": Kind("ticket", "airflow"),
        "missing_partition": Kind("ticket", "ledger"),
        "stale_champion": Kind("ticket", "ledger"),
        "no_champion": Kind("ticket", "ledger"),
        "rejected_often": Kind("ticket", "ledger"),
        "approval_waiting": Kind("ticket", "ledger"),
        "late_labels": Kind("ticket", "labels"),
        "vanished_declaration": Kind("ticket", "ledger"),
        "undelivered_alert": Kind("ticket", "ledger"),
        "queued_task": Kind("ticket", "airflow"),
        "promotion_held": Kind("note", "ledger"),
    }
)
"""Every kind, worst first."""

HEARTBEAT_TIME: Final = timedelta(seconds=60)
"""A process whose last heartbeat is older is dead, or frozen."""
DATABASE_TIME: Final = timedelta(seconds=15)
SERVICE_TIME: Final = timedelta(seconds=30)
"""How long the database, or the service, may give no answer: a restart takes some seconds."""
PROMOTION_TIME: Final = timedelta(seconds=60)
"""How long a promotion may take to reach the service. It takes a second, and some more to load a large artifact."""
DECLARATION_TIME: Final = timedelta(minutes=5)
"""How long the DAGs of a new declaration may take to appear."""
FIRST_CHAMPION_TIME: Final = timedelta(hours=24)
PAGED_SHARE: Final = 0.05
PAGED_BYTES: Final = 1024**3
TICKET_SHARE: Final = 0.15

_RANKS: Final[Mapping[IncidentSeverity, int]] = {"page": 0, "ticket": 1, "note": 2}
_ORDER: Final = {kind: place for place, kind in enumerate(KINDS)}
_DECLARATIONS_FILE: Final = "declarations.py"  # in dags/: it fails to import while a declaration is broken
_MAX_COMMANDS: Final = 3
_PARTS: Final = {
    "scheduler": ("the scheduler", "No DAG run starts, and no task is handed out. The service answers as before."),
    "dag_processor": (
        "the DAG processor",
        "Changed declarations have no effect in Airflow, and failed tasks call no one. Runs go on.",
    ),
    "triggerer": ("the triggerer", "Tasks that wait, such as approvals, do not continue. Other tasks run."),
}


def find_problems(state: WatchState, now: datetime) -> tuple[Problem, ...]:
    """Return what is wrong, worst first: by severity, then by kind, model and cause. The same state gives the same.

    Parameters
    ----------
    state : WatchState
    now : datetime
        The time of the state.

    Returns
    -------
    tuple of Problem
        One for each cause. What follows from another problem is left out. What cannot be judged, because a source was
        not readable, is left out, too: see `unjudged_kinds`.
    """
    look = _Look.of(state, now)
    found = [problem for find in _FINDERS for problem in find(look)]
    if state.ledger is not None:
        found += [problem for find in _OF_LEDGER for problem in find(look, state.ledger)]
    if look.airflow is not None:
        found += [problem for find in _OF_AIRFLOW for problem in find(look, look.airflow)]
    if look.service is not None:
        found += _service(look, look.service)
    left = [each for each in found if each.model not in look.broken or each.kind == "broken_declaration"]
    return tuple(sorted(left, key=_place))


def unjudged_kinds(state: WatchState) -> frozenset[str]:
    """Return the kinds that cannot be judged now. That `find_problems` finds none of them does not mean there is none.

    An incident of such a kind stays as it is.
    """
    unread: set[Source] = set()
    if state.ledger is None:
        unread |= {"ledger", "service"}  # the versions that are served are compared with the ledger
    if state.airflow is None and "airflow" in state.expected:
        unread.add("airflow")
    if state.service is not None and state.service.error is not None:
        unread.add("service")
    if state.disk is None:
        unread.add("disk")
    return frozenset(kind for kind, each in KINDS.items() if each.source in unread)


def pages(problems: Iterable[Problem]) -> bool:
    """Return whether somebody should be woken up."""
    return any(each.severity == "page" for each in problems)


def _place(problem: Problem) -> tuple[int, int, str, str]:
    return _RANKS[problem.severity], _ORDER[problem.kind], problem.model or "", problem.cause


# -- what follows from what --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Look:
    """A state and its time, with the causes of other problems.

    Attributes
    ----------
    airflow, service : AirflowState, ServiceState or None
        None if it is not expected, or could not be read.
    broken : frozenset of str
        Models of a broken declaration: nothing else of them is reported.
    dead_since : datetime or None
        The last heartbeat of a dead scheduler: partitions that are due later are late because of it.
    stopped : frozenset of str
        DAGs that do not run: paused ones, and those that Airflow does not have.
    """

    state: WatchState
    now: datetime
    airflow: AirflowState | None
    service: ServiceState | None
    broken: frozenset[str]
    dead_since: datetime | None = None
    stopped: frozenset[str] = frozenset()

    @classmethod
    def of(cls, state: WatchState, now: datetime) -> _Look:
        airflow = state.airflow if "airflow" in state.expected else None
        service = state.service if "service" in state.expected else None
        look = cls(state, now, airflow, service, frozenset(each.model for each in state.broken))
        if airflow is None:
            return look
        dags = [dag for model in state.specs for dag in (f"score_{model}", f"retrain_{model}")]
        return replace(
            look, dead_since=look.dead_part(airflow, "scheduler"), stopped=frozenset(filter(_stopped_in(airflow), dags))
        )

    @property
    def service_is_down(self) -> bool:
        """Whether the service has given no answer for too long."""
        service = self.service
        return service is not None and service.error is not None and self.is_over(SERVICE_TIME, service.answered_at)

    def dead_part(self, airflow: AirflowState, part: str) -> datetime | None:
        """Return the last heartbeat of a dead process, or when the watcher began if it had none; None if it lives."""
        last = airflow.heartbeats.get(part)
        return (last or self.state.began or self.now) if self.is_over(HEARTBEAT_TIME, last) else None

    def is_over(self, limit: timedelta, last: datetime | None) -> bool:
        """Return whether the last sign of life is older than `limit`; the time begins again with the watcher."""
        known = [each for each in (last, self.state.began) if each is not None]
        return not known or self.now - max(known) > limit


def _stopped_in(airflow: AirflowState) -> Callable[[str], bool]:
    def is_stopped(dag_id: str) -> bool:
        dag = airflow.dags.get(dag_id)
        return dag is None or dag.paused or dag.stale

    return is_stopped


# -- the database, the processes, the disk -----------------------------------------------------------


def _database(look: _Look) -> Iterator[Problem]:
    state = look.state
    if state.ledger_error is None or not look.is_over(DATABASE_TIME, state.ledger_read_at):
        return
    yield _problem(
        "database_down",
        summary=f"The database does not answer: {state.ledger_error}.",
        impact="Nothing is scored, trained or promoted. The service keeps answering predictions with the loaded "
        "versions; look-ups of scores fail.",
        next_step="Start it: `docker compose up -d postgres`, or `make run` for the embedded one, whose log is "
        "postgres/server.log in SLUICE_HOME.",
        subjects=["database"],
        since=state.ledger_read_at or state.began or look.now,
    )


def _airflow_unreadable(look: _Look) -> Iterator[Problem]:
    state = look.state
    # With the database down, Airflow's is down too: one problem.
    if "airflow" not in state.expected or state.airflow_error is None or state.ledger is None:
        return
    yield _problem(
        "airflow_unreadable",
        summary=f"Airflow's database cannot be read: {state.airflow_error}.",
        impact="Dead processes of Airflow, paused DAGs and import errors go unseen. Late partitions are still found.",
        next_step="Give the login the right to read it, or correct SLUICE_AIRFLOW_DATABASE_URL.",
        subjects=["airflow"],
        since=look.now,
    )


def _dead_processes(look: _Look, airflow: AirflowState) -> Iterator[Problem]:
    for part, (name, impact) in _PARTS.items():
        since = look.dead_part(airflow, part)
        if since is None:
            continue
        service = part.replace("_", "-")
        yield _problem(
            f"dead_{part}",
            summary=f"Airflow: {name} gave its last sign of life {_ago(since, look.now)}; it gives one every 5 s.",
            impact=impact,
            next_step=f"Restart it: `docker compose restart {service}`; with `make run`, Ctrl-C and `make run` again.",
            subjects=[part],
            since=since,
        )


def _dead_watcher(look: _Look) -> Iterator[Problem]:
    last = look.state.heartbeats.get(WATCHER)
    if last is None or look.now - last <= HEARTBEAT_TIME:
        return
    yield _problem(
        "dead_watcher",
        summary=f"`sluice watch` gave its last sign of life {_ago(last, look.now)}; it gives one every 10 s.",
        impact="What goes wrong without a failed task is not reported.",
        next_step="Start it again: `sluice watch`.",
        subjects=["watch"],
        since=last,
    )


def _service(look: _Look, service: ServiceState) -> Iterator[Problem]:
    if not look.service_is_down:
        return
    yield _problem(
        "service_down",
        summary=f"The online service at {service.address} does not answer: {service.error}.",
        impact="Clients get no predictions and no scores by REST. Score tables are complete without it.",
        next_step="Restart it: `docker compose restart service`, or `sluice serve`; then `curl "
        f"{service.address}/ready`.",
        subjects=["service"],
        since=service.answered_at or look.state.began or look.now,
    )


def _disk(look: _Look) -> Iterator[Problem]:
    disk = look.state.disk
    if disk is None or not disk.total or (disk.free >= TICKET_SHARE * disk.total and disk.free >= PAGED_BYTES):
        return
    page = disk.free < max(PAGED_SHARE * disk.total, PAGED_BYTES)
    limit = f"{PAGED_SHARE:.0%} or {PAGED_BYTES / 1024**3:.0f} GiB" if page else f"{TICKET_SHARE:.0%}"
    yield _problem(
        "disk_filling",
        severity="page" if page else None,
        summary=f"The disk of SLUICE_HOME has {_size(disk.free)} of {_size(disk.total)} free "
        f"({disk.free / disk.total:.1%}); expected at least {limit}.",
        impact="When it is full, tasks fail, and an embedded database stops.",
        next_step=f"See what is large: `du -xh --max-depth=2 {disk.folder} | sort -h | tail`; then remove it, or use a "
        "larger disk.",
        subjects=["disk"],
        since=look.now,
    )


# -- declarations and DAGs ---------------------------------------------------------------------------


def _broken(look: _Look) -> Iterator[Problem]:
    state = look.state
    for each in state.broken:
        yield _problem(
            "broken_declaration",
            each.model,
            summary=f"The declaration of {each.model} cannot be read: {_short(each.error)}",
            impact=f"Airflow has no DAGs of it: it is neither scored nor retrained. {_answers(state, each.model)}",
            next_step=f"See all faults, each with its line: `sluice check {each.model}`.",
            subjects=[each.model],
            since=state.declared_since.get(each.model, look.now),
        )


def _vanished(look: _Look, ledger: LedgerState) -> Iterator[Problem]:
    for model, champion in ledger.champions.items():
        published = ledger.publications.get(model)
        if published is None or model in look.state.specs:
            continue
        yield _problem(
            "vanished_declaration",
            model,
            summary=f"{model} has a champion (version {champion.version}) and published scores, and no declaration.",
            impact="It is neither scored nor retrained; its scores stay readable. Its newest partition is "
            f"{as_argument(published.newest_start)}.",
            next_step="Put its folder back, or delete the model: "
            f'`sluice delete {model} --reason "why it is not needed"`.',
            subjects=[model],
            since=look.now,
        )


def _paused(look: _Look, airflow: AirflowState) -> Iterator[Problem]:
    state = look.state
    for model, spec in state.specs.items():
        scheduled = {f"score_{model}": spec.score_schedule, f"retrain_{model}": spec.retrain_schedule}
        for dag_id, schedule in scheduled.items():
            dag = airflow.dags.get(dag_id)
            if dag is None or not dag.paused or dag.stale or schedule is None:
                continue
            since = min(dag.next_run, look.now) if dag.next_run is not None else look.now
            yield _problem(
                "paused_dag",
                model,
                cause=dag_id,
                summary=f"The DAG {dag_id} is paused, so its schedule '{schedule}' starts no run.",
                impact=_newest(state, model) if dag_id.startswith("score_") else _answers(state, model),
                next_step=f"Unpause it: `airflow dags unpause {dag_id} --yes`, or the switch in the Airflow UI. Only "
                "the newest run is made up for.",
                subjects=[dag_id],
                since=since,
            )


def _import_errors(look: _Look, airflow: AirflowState) -> Iterator[Problem]:
    for each in airflow.import_errors:
        name = _file_name(each)
        if name == _DECLARATIONS_FILE and look.broken:
            continue
        yield _problem(
            "import_error",
            cause=name,
            summary=f"Airflow cannot import {name}: {_short(each.error)}",
            impact="The DAGs of this file disappear: their runs neither start nor go on.",
            next_step="See the whole error: `airflow dags list-import-errors`. Airflow reads a corrected file again.",
            subjects=[each.file],
            since=each.since,
        )


def _missing_dags(look: _Look, airflow: AirflowState) -> Iterator[Problem]:
    failed = [each for each in airflow.import_errors if _file_name(each) != _DECLARATIONS_FILE]
    if failed or look.dead_part(airflow, "dag_processor") is not None:
        return  # it follows from them
    state = look.state
    for model in state.specs:
        since = max((each for each in (state.declared_since.get(model), state.began) if each), default=None)
        gone = [
            dag for dag in (f"retrain_{model}", f"score_{model}")
            if (known := airflow.dags.get(dag)) is None or known.stale
        ]  # fmt: skip
        if not gone or (since is not None and look.now - since <= DECLARATION_TIME):
            continue
        yield _problem(
            "missing_dag",
            model,
            summary=f"Airflow does not have {' and '.join(gone)}, although {model} is declared.",
            impact=f"Their schedules start no run. {_newest(state, model)}",
            next_step="Give Airflow's processes the same SLUICE_MODELS_DIR as here, then: `airflow dags reserialize`.",
            subjects=gone,
            since=since or look.now,
        )


def _file_name(failure: ImportFailure) -> str:
    return failure.file.rsplit("/", 1)[-1]


def _queued(look: _Look, airflow: AirflowState) -> Iterator[Problem]:
    tasks = airflow.queued
    if not tasks or look.dead_since is not None:
        return
    yield _problem(
        "queued_task",
        summary=f"{_count(len(tasks), 'task')} {_is(tasks)} queued and taken by no worker; the first, "
        f"{tasks[0].dag_id}.{tasks[0].task_id}, for {_length(look.now - tasks[0].since)}.",
        impact="Their runs do not go on.",
        next_step="Look whether workers run, and whether the pool has free slots: `airflow pools list`.",
        subjects=[f"{each.dag_id}.{each.task_id} {each.run_id}" for each in tasks],
        since=tasks[0].since,
    )


# -- scores ------------------------------------------------------------------------------------------


def _partitions(look: _Look, ledger: LedgerState) -> Iterator[Problem]:
    """Yield the late partitions of a model, after its newest one, and the holes before that."""
    for model, spec in look.state.specs.items():
        unpublished = _unpublished(ledger, spec, look.now)
        published = ledger.publications.get(model)
        newest = published.newest_start if published is not None else None
        late = [each for each in unpublished if newest is None or each.start > newest]
        if f"score_{model}" in look.stopped:
            late = []
        elif look.dead_since is not None:
            late = [each for each in late if each.deadline <= look.dead_since]
        if late:
            yield _late(look, model, late)
        if newest is not None and (holes := [each for each in unpublished if each.start < newest]):
            yield _holes(model, holes)


def _unpublished(ledger: LedgerState, spec: ModelSpec, now: datetime) -> list[ExpectedPartition]:
    """Return the partitions whose deadline is over, and of which not all is published."""
    champion, published = ledger.champions.get(spec.name), ledger.publications.get(spec.name)
    if champion is None:
        return []
    first = champion.first_since
    if published is not None and published.ranges:
        first = min(first, published.ranges[0][0])
    expected = expected_partitions(spec, first, now)
    return [
        each
        for each in expected
        if each.deadline < now and not (published is not None and published.covers(max(each.start, first), each.end))
    ]


def _late(look: _Look, model: str, late: Sequence[ExpectedPartition]) -> Problem:
    first = late[0]
    return _problem(
        "late_partition",
        model,
        summary=f"{_count(len(late), 'partition')} of {model} {_is(late)} not published: {_spans(late)}; "
        f"{'the first ' if len(late) > 1 else ''}due {_time(first.deadline)}, {_ago(first.deadline, look.now)}.",
        impact=_newest(look.state, model),
        next_step=f"Read the log of the last run of score_{model}, correct the cause, then: "
        f"{_commands(f'sluice score {model}', '--partition', late)}. It is not retried.",
        subjects=_names(late),
        since=first.deadline,
    )


def _holes(model: str, holes: Sequence[ExpectedPartition]) -> Problem:
    return _problem(
        "missing_partition",
        model,
        summary=f"{_count(len(holes), 'partition')} of {model} {_is(holes)} missing between published ones: "
        f"{_spans(holes)}.",
        impact=f"scores.{model} has no rows of {'this time' if len(holes) == 1 else 'these times'}; later partitions "
        "are complete.",
        next_step=f"Score {'it' if len(holes) == 1 else 'them'}: "
        f"{_commands(f'sluice backfill {model}', '--from', holes)}. It is not retried.",
        subjects=_names(holes),
        since=holes[0].deadline,
    )


def _labels(look: _Look) -> Iterator[Problem]:
    for model, spec in look.state.specs.items():
        counted, labels_by = look.state.labels.get(model), spec.freshness.labels_by
        if counted is None or labels_by is None or not counted.rows or counted.labelled:
            continue
        yield _problem(
            "late_labels",
            model,
            summary=f"None of the {counted.rows:,} rows of {model} from {_time(counted.start)} to "
            f"{_time(counted.end)} has a label; labels are declared to come within {_length(labels_by)}.",
            impact="Scores are published as before. A new candidate would be trained and judged on older rows.",
            next_step=f"Look whether {spec.source} is loaded, and the column {spec.target.column} filled.",
            subjects=[as_argument(counted.start)],
            since=counted.end + labels_by,
        )


# -- versions ----------------------------------------------------------------------------------------


def _champions(look: _Look, ledger: LedgerState) -> Iterator[Problem]:
    for model, spec in look.state.specs.items():
        champion = ledger.champions.get(model)
        if champion is None:
            yield from _no_champion(look, spec)
        elif model not in ledger.holds:
            yield from _stale(look, spec, champion)


def _no_champion(look: _Look, spec: ModelSpec) -> Iterator[Problem]:
    model, since = spec.name, look.state.declared_since.get(spec.name)
    if spec.score_schedule is None and spec.retrain_schedule is None:
        return
    if spec.retrain_schedule is not None and f"retrain_{model}" in look.stopped:
        return
    if since is not None and look.now - since <= FIRST_CHAMPION_TIME:
        return
    yield _problem(
        "no_champion",
        model,
        summary=f"{model} has a schedule and no champion.",
        impact="Nothing is scored, and the service answers no request for it.",
        next_step=f"Train a version: `sluice train {model}`; `sluice versions {model}` says why earlier ones were "
        "rejected.",
        subjects=[model],
        since=since or look.now,
    )


def _stale(look: _Look, spec: ModelSpec, champion: ChampionState) -> Iterator[Problem]:
    model, limit = spec.name, spec.champion_max_age
    if limit is None or champion.data_end is None or look.now - champion.data_end <= limit:
        return
    since = champion.data_end + limit
    if spec.retrain_schedule is not None and f"retrain_{model}" in look.stopped:
        return
    if look.dead_since is not None and since > look.dead_since:
        return
    yield _problem(
        "stale_champion",
        model,
        summary=f"The champion of {model}, version {champion.version}, knows data until {_time(champion.data_end)}: "
        f"{_length(look.now - champion.data_end)} ago. Limit: {_length(limit)}.",
        impact=f"Version {champion.version} keeps scoring and answering, and may fit newer data less well.",
        next_step=f"See why no newer version was promoted: `sluice versions {model}`. Then `sluice train {model}`.",
        subjects=[f"version {champion.version}"],
        since=since,
    )


def _versions(look: _Look, ledger: LedgerState) -> Iterator[Problem]:
    for model, spec in look.state.specs.items():
        versions = ledger.versions.get(model, ())  # the newest first
        rejected = list(takewhile(lambda each: not each.accepted and not each.promoted, versions))
        if len(rejected) >= spec.freshness.rejected_in_a_row:
            yield _problem(
                "rejected_often",
                model,
                summary=f"The gates rejected the last {len(rejected)} candidates of {model}; version "
                f"{rejected[0].version}: {_short(rejected[0].reason or 'no reason is recorded')}",
                impact=_answers(look.state, model),
                next_step=f"See all reasons: `sluice versions {model}`. Correct the data, the model or the gates.",
                subjects=[f"version {each.version}" for each in reversed(rejected)],
                since=rejected[-1].created_at,
            )
        if versions and versions[0].waits_for_approval and look.now - versions[0].created_at > spec.approval_within:
            version = versions[0].version
            yield _problem(
                "approval_waiting",
                model,
                summary=f"Version {version} of {model} has waited for an approval for "
                f"{_length(look.now - versions[0].created_at)}. Limit: {_length(spec.approval_within)}.",
                impact=_answers(look.state, model),
                next_step=f"Read its card, `sluice card {model} {version} --open`, and answer in the Airflow UI or by "
                f'`sluice approve {model} {version} --comment "what was checked"`.',
                subjects=[f"version {version}"],
                since=versions[0].created_at + spec.approval_within,
            )


def _holds(look: _Look, ledger: LedgerState) -> Iterator[Problem]:
    for model, hold in ledger.holds.items():
        if model not in look.state.specs:
            continue
        until = "until somebody lifts the hold" if hold.until is None else f"until {_time(hold.until)}"
        yield _problem(
            "promotion_held",
            model,
            summary=f"{hold.actor} holds the promotions of {model} {until}: {_short(hold.reason)}",
            impact=f"Retrains register and judge versions, and promote none. {_answers(look.state, model)}",
            next_step=f'To lift the hold: `sluice hold {model} --lift --reason "why it is over"`.',
            subjects=[model],
            since=hold.since,
        )


# -- what is served ----------------------------------------------------------------------------------


def _served(look: _Look, ledger: LedgerState) -> Iterator[Problem]:
    """Yield for each champion that the service refuses, or does not serve, one problem."""
    if look.service_is_down:
        return
    for model in look.state.specs:
        champion = ledger.champions.get(model)
        if champion is None:
            continue
        refused = _refused(look, ledger.refused.get(model), model, champion)
        if refused is not None:
            yield refused
        elif look.service is not None and look.service.error is None:
            yield from _mismatch(look, look.service, model, champion)


def _refused(look: _Look, refusal: RefusedArtifact | None, model: str, champion: ChampionState) -> Problem | None:
    service = look.service
    served = service.models.get(model) if service is not None and service.error is None else None
    if served is not None and (served.version == champion.version or served.state == "pinned"):
        return None
    failed = served is not None and "could not be loaded" in served.message
    if refusal is None and not failed:
        return None
    if served is None:
        serving = "Each worker keeps the version that it had loaded, if it had one"
    elif served.version is None:
        serving = "It serves no version: requests get 503"
    else:
        serving = f"It keeps answering with version {served.version}"
    error = refusal.error if refusal is not None else served.message if served is not None else ""
    return _problem(
        "refused_artifact",
        model,
        summary=f"The service cannot load version {champion.version} of {model}, the champion: {_short(error)}",
        impact=f"{serving}. Partitions that are scored from the same artifact fail, too.",
        next_step=f"Find what is wrong: `sluice verify {model} {champion.version}`. Go back meanwhile: "
        f'`sluice rollback {model} --reason "version {champion.version} cannot be loaded"`.',
        subjects=[f"version {champion.version}"],
        since=refusal.since if refusal is not None else champion.since,
    )


def _mismatch(look: _Look, service: ServiceState, model: str, champion: ChampionState) -> Iterator[Problem]:
    state = look.state
    served = service.models.get(model)
    if served is not None and (served.version == champion.version or served.state == "pinned"):
        return
    changed = [champion.since, state.declared_since.get(model), state.began, served.seen_since if served else None]
    since = max(each for each in changed if each is not None)
    if look.now - since <= PROMOTION_TIME:
        return
    if served is not None and served.seen_since is None and served.state in ("loading", "unknown"):
        return  # it may have started this moment; a second look will tell
    found = "does not know the model" if served is None else "serves no version"
    if served is not None and served.version is not None:
        found = f"serves version {served.version}"
    yield _problem(
        "version_mismatch",
        model,
        summary=f"The service {found}; the champion of {model} is version {champion.version}, since "
        f"{_time(champion.since)}.",
        impact="Clients get predictions of another version than score tables." if served and served.version else
        "Clients get no predictions of this model.",
        next_step=f"See what it says: `curl {service.address}/ready`. Restart it: `docker compose restart service`.",
        subjects=[f"version {champion.version}"],
        since=since,
    )  # fmt: skip


def _undelivered(look: _Look, ledger: LedgerState) -> Iterator[Problem]:
    if not ledger.undelivered:
        return
    since = ledger.undelivered_since or look.now
    yield _problem(
        "undelivered_alert",
        summary=f"{_count(ledger.undelivered, 'alert')} did not reach every channel; the oldest was raised "
        f"{_ago(since, look.now)}.",
        impact="Somebody who should know does not. Alerts are also in sluice.alert and in logs/alerts.log.",
        next_step='See which channel, and why: `sluice psql -c "SELECT raised_at, model, channels FROM sluice.alert '
        'WHERE NOT delivered"`. They are sent again.',
        subjects=["alerts"],
        since=since,
    )


# -- sentences ---------------------------------------------------------------------------------------


def _problem(
    kind: str,
    model: str | None = None,
    *,
    summary: str,
    impact: str,
    next_step: str,
    subjects: Sequence[str],
    since: datetime,
    cause: str = "",
    severity: IncidentSeverity | None = None,
) -> Problem:
    return Problem(
        kind=kind,
        model=model,
        cause=cause,
        severity=severity or KINDS[kind].severity,
        summary=summary,
        impact=impact,
        next_step=next_step,
        subjects=tuple(subjects),
        since=since,
    )


def _newest(state: WatchState, model: str) -> str:
    """Return which partition is the newest, for people who read scores."""
    published = state.ledger.publications.get(model) if state.ledger is not None else None
    if published is None:
        return f"scores.{model} has no partition yet."
    return (
        f"The newest partition of scores.{model} is {as_argument(published.newest_start)}, scored by version "
        f"{published.newest_version}."
    )


def _answers(state: WatchState, model: str) -> str:
    """Return which version answers, for people who use predictions."""
    champion = state.ledger.champions.get(model) if state.ledger is not None else None
    if champion is None:
        return "It has no champion." if state.ledger is not None else "Which version answers is not known."
    return f"Version {champion.version}, the champion since {_time(champion.since)}, keeps answering."


def _runs_of(expected: Sequence[ExpectedPartition]) -> list[list[ExpectedPartition]]:
    """Return the partitions in groups without a gap."""
    groups: list[list[ExpectedPartition]] = []
    for each in expected:
        if groups and groups[-1][-1].end == each.start:
            groups[-1].append(each)
        else:
            groups.append([each])
    return groups


def _spans(expected: Sequence[ExpectedPartition]) -> str:
    runs = _runs_of(expected)
    shown = [
        as_argument(run[0].start) + (f" to {as_argument(run[-1].start)}" if len(run) > 1 else "")
        for run in runs[:_MAX_COMMANDS]
    ]
    return ", ".join(shown) + (f" and {len(runs) - _MAX_COMMANDS} more" if len(runs) > _MAX_COMMANDS else "")


def _commands(command: str, option: str, expected: Sequence[ExpectedPartition]) -> str:
    """Return one command for each group of partitions without a gap, at most three."""
    found = []
    for run in _runs_of(expected)[:_MAX_COMMANDS]:
        first, last = as_argument(run[0].start), as_argument(run[-1].start)
        to = f" --to {last}" if len(run) > 1 or option == "--from" else ""
        found.append(f"`{command} {option} {first}{to}`")
    return ", ".join(found)


def _names(expected: Iterable[ExpectedPartition]) -> list[str]:
    return [as_argument(each.start) for each in expected]


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _is(things: Sequence[object]) -> str:
    return "is" if len(things) == 1 else "are"


def _time(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _ago(moment: datetime, now: datetime) -> str:
    return f"{_length(now - moment)} ago"


def _length(duration: timedelta) -> str:
    seconds = duration.total_seconds()
    for unit, size in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}s"
    return f"{max(seconds, 0):.0f} s"


def _size(number: int) -> str:
    return f"{number / 1024**3:,.1f} GiB"


def _short(sentence: str, limit: int = 300) -> str:
    line = " ".join(sentence.split())
    return line if len(line) <= limit else f"{line[: limit - 1]}…"


_FINDERS: Final[tuple[Callable[[_Look], Iterator[Problem]], ...]] = (
    _database,
    _airflow_unreadable,
    _dead_watcher,
    _disk,
    _broken,
    _labels,
)
_OF_LEDGER: Final[tuple[Callable[[_Look, LedgerState], Iterator[Problem]], ...]] = (
    _vanished,
    _partitions,
    _champions,
    _versions,
    _holds,
    _served,
    _undelivered,
)
_OF_AIRFLOW: Final[tuple[Callable[[_Look, AirflowState], Iterator[Problem]], ...]] = (
    _dead_processes,
    _paused,
    _import_errors,
    _missing_dags,
    _queued,
)
