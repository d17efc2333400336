"""``sluice versions`` and ``sluice card``: what became of each version of a model, and its model card."""

from __future__ import annotations

import sys
import webbrowser
from argparse import Namespace
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

from pydantic import AwareDatetime

from include.cli.output import show
from include.errors import NoChampionError, SluiceError
from include.models import DeclaredModels
from include.records import ModelDeletion, ModelVersion, Record
from include.registry import CARD, standing_champions
from include.resources import Resources

Standing = Literal["champion", "former champion", "rolled back", "never champion", "deleted"]


class VersionRow(Record):
    """A version in one row. `failures` has the name and the sentence of each gate that failed.

    `deleted` is the deletion of the model that made the version history; such a version has no card.
    """

    model: str
    version: int
    registered_at: AwareDatetime
    run_id: str
    accepted: bool
    failures: tuple[str, ...]
    standing: Standing
    card: str | None
    deleted: ModelDeletion | None


def versions(arguments: Namespace, models: DeclaredModels, resources: Resources) -> int:
    """List every version: what the gates decided and the first reason, whether it is or was champion, and its card."""
    model = arguments.model
    registered = resources.ledger.versions(model, with_deleted=True)
    deletions = resources.ledger.deletions(model)
    if not registered and not deletions and model not in models.specs:
        models[model]  # raises the error that lists the declared models
    moved = [each.to_version for each in resources.ledger.promotions(model)]
    found = []
    for each in registered:
        deleted = next((made for made in deletions if made.last_version >= each.version), None)
        found.append(_summary(each, moved, deleted, resources))
    show(arguments, found, _table(model, found))
    return 0


def card(arguments: Namespace, models: DeclaredModels, resources: Resources) -> int:
    """Print where the model card of a version is, by default the champion's; with ``--open``, open it in a browser."""
    model, version = arguments.model, arguments.version
    if version is None:
        champion = resources.ledger.champion(model)
        if champion is None:
            if model not in models.specs:
                models[model]  # raises the error that lists the declared models
            raise NoChampionError(model)
        version = champion.to_version
    registered = resources.ledger.version(model, version)
    where = card_location(registered, resources)
    sys.stdout.write(where + "\n")
    if arguments.open:
        _open(registered, where, resources)
    return 0


def card_location(version: ModelVersion, resources: Resources) -> str:
    """Return the path or URL of a version's model card."""
    return resources.artifacts.locate(version.model, version.version, CARD, artifact_digest=version.artifact_digest)


def _open(version: ModelVersion, where: str, resources: Resources) -> None:
    """Open the card in a browser. A card in an object store is copied into SLUICE_HOME first, verified."""
    file = Path(where)
    if "://" in where:
        artifact = resources.artifacts.open(version.model, version.version, version.artifact_digest)
        file = resources.settings.home / "cards" / version.model / f"{version.version}.html"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(artifact.read(CARD))
    if not file.is_file():
        raise SluiceError(
            f"{where}: expected the card of version {version.version} of '{version.model}'; found no such file. "
            f"`sluice verify {version.model} {version.version}` says what else is missing; restore it from a backup."
        )
    if not webbrowser.open(file.resolve().as_uri()):
        raise SluiceError(
            f"--open: expected a browser on this machine; found none. Copy {file} to a machine that has one, "
            "or look at the Airflow UI, which shows the card, too."
        )


def _summary(
    version: ModelVersion, moved: list[int], deleted: ModelDeletion | None, resources: Resources
) -> VersionRow:
    return VersionRow(
        model=version.model,
        version=version.version,
        registered_at=version.created_at,
        run_id=version.run_id,
        accepted=version.decision.accepted,
        failures=version.decision.failures,
        standing="deleted" if deleted else _standing(version.version, moved),
        card=None if deleted else card_location(version, resources),
        deleted=deleted,
    )


def _standing(version: int, moved: Iterable[int]) -> Standing:
    moved = list(moved)
    standing = standing_champions(moved)
    if version not in moved:
        return "never champion"
    if version not in standing:
        return "rolled back"
    return "champion" if version == standing[-1] else "former champion"


def _table(model: str, found: list[VersionRow]) -> Iterator[str]:
    if not found:
        yield f"No version of {model} is registered yet. Train the first: `sluice train {model}`."
        return
    yield f"{'version':>7}  {'registered (UTC)':19}  {'gates':8}  {'':15}  card"
    for each in found:
        verdict = "accepted" if each.accepted else "rejected"
        last = each.card or f"none: {each.deleted}"
        yield f"{each.version:>7}  {each.registered_at:%Y-%m-%d %H:%M:%S}  {verdict}  {each.standing:15}  {last}"
        if each.failures:
            more = f" (and {len(each.failures) - 1} more)" if len(each.failures) > 1 else ""
            yield f"{'':7}  {each.failures[0]}{more}"
