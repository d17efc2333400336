"""The declared models: one folder for each. This module finds the folders and reads their specs.

A broken spec does not hide the others: its error is returned together with them.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType, MappingProxyType

from include.errors import Finding, SpecError, UnknownModelError
from include.spec import QUERY_FILE, ModelSpec
from include.spec.features_query import PARAMETERS, decode_query, query_parameters
from include.spec.model import declaration_digest

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
        code, query = file.read_bytes(), file.with_name(QUERY_FILE).read_bytes()
        spec = _declared(file, code, query)
    except (Exception, SystemExit) as error:  # an error of any type in a user's file must not hide the other models
        from include.linting import lint  # needed for a declaration with a fault, and every DAG file reads them all

        found = lint(file).errors or (Finding(file, f"expected a file that imports; found {_shown(error)}"),)
        raise SpecError(file, found) from error
    return spec.read_from(file.parent, declaration_digest(code, query))


def _declared(file: Path, code: bytes, query: bytes) -> ModelSpec:
    """Return the declaration of a ``spec.py`` without a fault; any error otherwise."""
    name = file.parent.name
    specs = [value for value in _run(file, name, code).values() if isinstance(value, ModelSpec)]
    if len(specs) != 1 or specs[0].name != name:
        raise ValueError("no single ModelSpec with the name of the folder")
    if set(query_parameters(decode_query(query))) != set(PARAMETERS):
        raise ValueError("a query without a parameter")
    return specs[0]


class _Loader(SourceFileLoader):
    """Runs the code that was read, whose digest is known: neither a later edit, nor Python's cache of a former one.

    The cache tells two edits apart by the second and the size.
    """

    def __init__(self, name: str, file: Path, code: bytes) -> None:
        super().__init__(name, str(file))
        self._code = code

    def get_code(self, fullname: str) -> CodeType:  # noqa: ARG002  # importlib's signature
        return self.source_to_code(self._code, self.path)


def _run(file: Path, name: str, code: bytes) -> dict[str, object]:
    module_name = f"sluice_models.{name}"
    loader = _Loader(module_name, file, code)
    module_spec = importlib.util.spec_from_file_location(module_name, file, loader=loader)
    if module_spec is None or module_spec.loader is None:
        raise ValueError("no Python file")
    module = importlib.util.module_from_spec(module_spec)
    module_spec.loader.exec_module(module)
    return vars(module)


def _shown(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"
