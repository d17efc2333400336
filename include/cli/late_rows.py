"""The lines of ``sluice status`` on published partitions whose source has changed, or that are empty."""

from __future__ import annotations

from collections.abc import Iterator

from include import pipeline
from include.resources import Resources
from include.spec import ModelSpec


def late_rows(spec: ModelSpec, resources: Resources) -> Iterator[str]:
    """Compare the partitions of the declared window with their source; yield a line for each that differs."""
    if spec.scoring.late_rows == "ignore":
        return
    late = pipeline.find_late_rows(spec, resources, resources.clock() - spec.scoring.late_rows_window)
    yield from (each.sentence for each in late.found)
    if late.changed:
        commands = " and ".join(f"`{each}`" for each in pipeline.rescore_commands(late.changed))
        yield f"To score them again: {commands}."
    if late.unknown:
        yield (
            f"{late.unknown} partition(s) were published before digests of the source were recorded: whether they have "
            "late rows is unknown."
        )
