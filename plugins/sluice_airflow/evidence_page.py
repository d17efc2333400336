"""The text of a request to approve a version: metrics, gates, digests and the link to the card."""

from __future__ import annotations

from include.records import Evaluation, ModelVersion, PromotionHold

PAGE = """\
Version **{version}** of **{model}** passed its gates. If you approve it, {outcome}

{metrics}

## Gates
{gates}

## What the approval is bound to
- Evidence: `{evidence}`
- Artifact: `{artifact}`
- Champion now: {champion}

The approval is void if the declaration changes, the champion changes or another version is registered before you
approve. The person who triggered this run may not approve it.

The [model card]({card}) has the full evidence, with plots.
"""


def evidence_page(version: ModelVersion, card_url: str, hold: PromotionHold | None = None) -> str:
    """Return the Markdown of the request to approve `version`, whose card is at `card_url`.

    Parameters
    ----------
    hold : PromotionHold, optional
        The hold of the model's promotions that is in force.
    """
    outcome = "it becomes the champion."
    if hold is not None:
        outcome = f"a person may promote it. It does not become the champion by itself: {hold.sentence}."
    seen = version.evaluation
    champion = "none yet" if seen.champion_version is None else f"version {seen.champion_version}"
    return PAGE.format(
        model=version.model,
        version=version.version,
        outcome=outcome,
        metrics=_metrics(seen),
        gates="\n".join(
            f"- **{'passed' if each.passed else 'FAILED'}** {each.sentence}" for each in version.decision.gates
        ),
        evidence=version.evidence_digest,
        artifact=version.artifact_digest,
        champion=f"{champion} (sequence {seen.champion_sequence})",
        card=card_url,
    )


def _metrics(seen: Evaluation) -> str:
    rows = ["| Metric | Candidate | Interval | Champion | Baseline |", "| --- | --- | --- | --- | --- |"]
    for name, value in seen.candidate.items():
        interval = seen.intervals.get(name)
        shown = f"{interval.low:.4f} to {interval.high:.4f}" if interval else "-"
        rivals = [_figure((seen.champion or {}).get(name)), _figure(seen.baseline.get(name))]
        rows.append(f"| {name} | {value:.4f} | {shown} | {' | '.join(rivals)} |")
    return f"Measured on {seen.rows:,} rows, all later than the training rows. {seen.reuse}\n\n" + "\n".join(rows)


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
