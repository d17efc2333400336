"""The skeleton of a new model: a complete folder, to be changed part by part."""

from __future__ import annotations

import re
from pathlib import Path

from include.errors import Finding, SpecError
from include.spec.base import IDENTIFIER, check_model_name

TEMPLATE = Path(__file__).parent / "_template"


def write_skeleton(models_dir: Path, name: str) -> Path:
    """Write ``<models_dir>/<name>/`` with a commented ``spec.py`` and ``features.sql``.

    `include.warehouse.samples.create_skeleton_table` creates the table that they read.

    Returns
    -------
    Path
        The new folder.

    Raises
    ------
    SpecError
        When the name is not an identifier, or the folder exists; nothing is overwritten.
    """
    folder = check_new_model(models_dir, name)
    models_dir.mkdir(parents=True, exist_ok=True)
    folder.mkdir()
    for template in sorted(TEMPLATE.glob("*.txt")):
        text = template.read_text(encoding="utf-8").replace("{name}", name)
        (folder / template.stem).write_text(text, encoding="utf-8")
    return folder


def check_new_model(models_dir: Path, name: str) -> Path:
    """Return the folder that `write_skeleton` would make, without making it.

    Raises
    ------
    SpecError
        When the name cannot be a model's, or the folder exists.
    """
    folder = models_dir / name
    if re.fullmatch(IDENTIFIER, name) is None:
        expected = "a lower-case letter, then at most 40 lower-case letters, digits or underscores"
        raise _refused(folder, f"expected {expected}; found {name!r}")
    if folder.exists():
        raise _refused(
            folder, "expected a name that no folder has yet; found a folder; choose another name, or remove it"
        )
    try:
        check_model_name(name)
    except ValueError as error:
        raise _refused(folder, f"expected a name that no other model can need; found {error}") from None
    return folder


def _refused(folder: Path, sentence: str) -> SpecError:
    return SpecError(folder, (Finding(folder, sentence, field="name"),))
