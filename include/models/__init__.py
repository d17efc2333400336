"""The declared models: one folder for each. This module finds the folders and reads their specs.

A broken spec does not hide the others: its error is returned together with them.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from include.errors import Finding, SpecError, UnknownModelError
from include.spec import QUERY_FILE, ModelSpec
from include.spec.features_query import PARAMETERS, decode_query, query_parameters

MODELS_DIR = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class DeclaredModels:
    """The models of a folder: the valid ones, and the errors of the others."""

    specs: Mapping[str, ModelSpec]
    broken: tuple[SpecError, ...]

    def __getitem__(self, name: str) -> ModelSpec:
        for error in self.broken:
            if error.file.parent.name == name:
                raise error
        if name not in self.specs:
            raise UnknownModelError(name, sorted(self.specs))
        return self.specs[name]


def declared_models(models_dir: Path = MODELS_DIR) -> DeclaredModels:
    """Read every ``<models_dir>/<name>/spec.py``.

    Returns
    -------
    DeclaredModels
        Specs by name, in alphabetical order, and the errors of broken ones.
    """
    specs: dict[str, ModelSpec] = {}
    broken: list[SpecError] = []
    for file in sorted(models_dir.glob("*/spec.py")):
        try:
            specs[file.parent.name] = read_spec(file)
        except SpecError as error:
            broken.append(error)
    return DeclaredModels(MappingProxyType(specs), tuple(broken))


def read_spec(file: Path) -> ModelSpec:
    """Read one ``spec.py``.

    Raises
    ------
    SpecError
        With all faults of the file and of ``features.sql``, each with its line.
    """
    try:
        spec = _declared(file)
    except (Exception, SystemExit) as error:  # an error of any type in a user's file must not hide the other models
        from include.linting import lint  # needed for a declaration with a fault, and every DAG file reads them all

        found = lint(file).errors or (Finding(file, f"expected a file that imports; found {_shown(error)}"),)
        raise SpecError(file, found) from error
    return spec.model_copy(update={"folder": file.parent})


def _declared(file: Path) -> ModelSpec:
    """Return the declaration of a ``spec.py`` without a fault; any error otherwise."""
    name = file.parent.name
    specs = [value for value in _run(file, name).values() if isinstance(value, ModelSpec)]
    if len(specs) != 1 or specs[0].name != name:
        raise ValueError("no single ModelSpec with the name of the folder")
    if set(query_parameters(decode_query(file.with_name(QUERY_FILE).read_bytes()))) != set(PARAMETERS):
        raise ValueError("a query without a parameter")
    return specs[0]


def _run(file: Path, name: str) -> dict[str, object]:
    module_spec = importlib.util.spec_from_file_location(f"sluice_models.{name}", file)
    if module_spec is None or module_spec.loader is None:
        raise ValueError("no Python file")
    module = importlib.util.module_from_spec(module_spec)
    module_spec.loader.exec_module(module)
    return vars(module)


def _shown(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"
