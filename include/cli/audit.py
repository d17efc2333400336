"""``sluice verify`` and ``sluice explain-promotion``, for auditors."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterable, Iterator

from include import pipeline
from include.cli.output import show
from include.cli.versions import card_location
from include.evidence.formatting import length, metric_rows, moment
from include.models import DeclaredModels
from include.records import AuditCheck
from include.resources import Resources
from include.steps.audit import PromotionAudit


def verify(arguments: Namespace, _models: DeclaredModels, resources: Resources) -> int:
    """Print each check of a version; return 1 when one failed."""
    checks = list(pipeline.verify_version(arguments.model, arguments.version, resources))
    failed = [check.name for check in checks if not check.passed]
    name = f"{arguments.model} version {arguments.version}"
    verdict = f"{name}: FAILED: {', '.join(failed)}" if failed else f"{name}: all {len(checks)} checks passed"
    value = {"model": arguments.model, "version": arguments.version, "passed": not failed, "checks": checks}
    show(arguments, value, [*_check_lines(checks), verdict])
    return 1 if failed else 0


def explain(arguments: Namespace, _models: DeclaredModels, resources: Resources) -> int:
    """Print the whole audit of a promotion; return 1 when a check of its evidence failed."""
    audit = pipeline.explain_promotion(arguments.model, arguments.sequence, resources)
    show(arguments, audit, _audit_lines(audit, card_location(audit.version, resources)))
    return 0 if all(check.passed for check in audit.checks) else 1


def _audit_lines(audit: PromotionAudit, card: str) -> Iterator[str]:
    for part in (_who, _data, _figures, _gates, _around, _approved):
        yield from part(audit)
    yield from ("", "Checked again now", *_check_lines(audit.checks))
    yield from ("", f"Card: {card}" if audit.pack else "Card: none was made for this version.")


def _who(audit: PromotionAudit) -> Iterator[str]:
    promotion = audit.promotion
    former = "no champion" if promotion.from_version is None else f"version {promotion.from_version}"
    yield f"Promotion {promotion.sequence} of {promotion.model}: from {former} to version {promotion.to_version}"
    yield f"  {'rolled back' if audit.rollback else 'promoted'} {moment(promotion.promoted_at)} by {promotion.actor}"
    yield f"  because: {promotion.reason}"
    until = audit.until
    yield (
        f"  in force until {moment(until.promoted_at)} (sequence {until.sequence}, {until.actor})"
        if until
        else "  still in force"
    )


def _data(audit: PromotionAudit) -> Iterator[str]:
    version, pack = audit.version, audit.pack
    yield f"\nVersion {version.version}, registered {moment(version.created_at)} by run {version.run_id}"
    if pack:
        split = pack.snapshot.split
        yield f"  training  {split.train}, {pack.snapshot.train_rows:,} rows"
        yield f"  gap       {length(split.holdout.start - split.train.end)}"
        yield f"  holdout   {split.holdout}, {pack.snapshot.holdout_rows:,} rows"
    yield f"  data      {version.data_digest}"
    yield f"  spec      {version.spec_digest}"
    yield f"  artifact  {version.artifact_digest}"
    yield f"  evidence  {audit.promotion.evidence_digest}"
    if pack:
        yield f"  code      {pack.code_digest}"
        yield f"  made with {', '.join(f'{name} {number}' for name, number in pack.libraries.items())}"


def _figures(audit: PromotionAudit) -> Iterator[str]:
    evaluation = audit.version.evaluation
    champion = (
        "no champion" if evaluation.champion_version is None else f"champion version {evaluation.champion_version}"
    )
    yield f"\nMetrics on {evaluation.rows:,} holdout rows: candidate, {champion}, baseline"
    if evaluation.champion_note:
        yield f"  the champion could not be compared: {evaluation.champion_note}"
    if evaluation.champion_left_out:
        yield f"  {evaluation.champion_left_out:,} more rows are left out: the champion's own query does not give them"
    yield f"  {evaluation.reuse}"
    for row in metric_rows(evaluation):
        yield f"  {row.metric:<18} {row.candidate:<26} {row.champion:<26} {row.baseline}  ({row.direction})"
        if row.metric in evaluation.differences or row.metric in evaluation.baseline_differences:
            yield f"  {'':<18} minus champion {row.against_champion}; minus baseline {row.against_baseline}"


def _gates(audit: PromotionAudit) -> Iterator[str]:
    decision = audit.version.decision
    verdict = "accepted" if decision.accepted else "REJECTED, but a person promoted it"
    yield f"\nGates: {verdict}"
    for gate in decision.gates:
        yield f"  {gate.gate}: {gate.sentence}"


def _around(audit: PromotionAudit) -> Iterator[str]:
    pack = audit.pack
    if pack is None:
        yield "\nRehearsal: not measured"
        return
    found = pack.rehearsal
    if found is None:
        yield "\nRehearsal: not measured"
    else:
        p99 = "not measured" if found.latency_p99_ms is None else f"{found.latency_p99_ms:.3g} ms"
        yield f"\nRehearsal: {'passed' if found.passed else 'FAILED'}, {found.requests:,} requests, p99 {p99}"
        yield from (f"  {fault}" for fault in found.faults)
    parity = pack.parity
    faithful = "passed" if parity.passed else "FAILED"
    yield f"Parity: {faithful}, {parity.rows:,} rows, maximum difference {parity.largest_difference:.3g}"
    reproducibility = pack.reproducibility
    same = (
        "not measured" if reproducibility is None else "the same bytes" if reproducibility.passed else "DIFFERENT bytes"
    )
    yield f"Trained twice: {same}"


def _approved(audit: PromotionAudit) -> Iterator[str]:
    missing = "required, and missing" if audit.version.needs_approval else "not required"
    if not audit.approvals:
        yield f"Approval: {missing}"
    for each in audit.approvals:
        same = "on this evidence" if each.evidence_digest == audit.version.evidence_digest else "on OTHER evidence"
        requested = each.requested_by or "the schedule"
        yield f"Approval: {each.decision} {moment(each.decided_at)} by {each.approver}, {same}; run by {requested}"
        yield f"  {each.comment}"


def _check_lines(checks: Iterable[AuditCheck]) -> Iterator[str]:
    for check in checks:
        yield f"  {'passed' if check.passed else 'FAILED'}  {check.name}: {check.sentence}"
