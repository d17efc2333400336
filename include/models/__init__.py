"""The declared models: one folder for each. This module finds the folders and reads their specs.

A broken spec does not hide the others: its error is returned together with them.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from pydantic import ValidationError

from include.errors import SpecError, UnknownModelError
from include.spec import ModelSpec
from include.spec.features_query import PARAMETERS, QueryTextError, decode_query, query_parameters

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
        The message names the file, the field, the expected and the found value.
    """
    name = file.parent.name
    found = _spec_of(_run(file, name), file)
    if found.name != name:
        raise SpecError(file, "name", f"the folder's name, '{name}'", f"'{found.name}'")
    query = file.with_name("features.sql")
    if not query.is_file():
        raise SpecError(query, "features.sql", "a query beside spec.py", "no such file")
    _check_query(query)
    return found.model_copy(update={"folder": file.parent})


def _check_query(file: Path) -> None:
    try:
        found = query_parameters(decode_query(file.read_bytes()))
    except QueryTextError as error:
        raise SpecError(file, "features.sql", "one query in UTF-8", str(error)) from None
    for parameter in PARAMETERS:
        if parameter not in found:
            raise SpecError(
                file,
                parameter,
                f"a query that binds {parameter}",
                "a query that does not (in a string, a comment or after :: it is no parameter)",
            )


def _run(file: Path, name: str) -> dict[str, object]:
    module_spec = importlib.util.spec_from_file_location(f"sluice_models.{name}", file)
    if module_spec is None or module_spec.loader is None:
        raise SpecError(file, "file", "a Python file", "something that cannot be imported")
    module = importlib.util.module_from_spec(module_spec)
    try:
        module_spec.loader.exec_module(module)
    except ValidationError as error:
        raise _first_fault(file, error) from error
    except Exception as error:  # an error of any type in a user's file must not hide the other models
        raise SpecError(file, "(import)", "a file that imports", f"{type(error).__name__}: {error}") from error
    return vars(module)


def _spec_of(namespace: dict[str, object], file: Path) -> ModelSpec:
    specs = [value for value in namespace.values() if isinstance(value, ModelSpec)]
    if len(specs) != 1:
        raise SpecError(file, "spec", "exactly one ModelSpec in the file", f"{len(specs)}")
    return specs[0]


def _first_fault(file: Path, error: ValidationError) -> SpecError:
    fault = error.errors()[0]
    field = ".".join(str(part) for part in fault["loc"]) or error.title
    return SpecError(file, field, fault["msg"], repr(fault["input"])[:200])
