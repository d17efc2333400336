"""All faults of a ``spec.py`` at once: it is run statement by statement, and a fault ends none of it.

What cannot be made is replaced by a placeholder, so that what follows is read, too; what is wrong with a placeholder is
not reported again.
"""

from __future__ import annotations
import __future__

import ast
import contextlib
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from pydantic import ValidationError

from include.errors import Finding, did_you_mean
from include.linting.call_sites import HOOK, CallHooks, CallSites
from include.linting.names import names_anywhere, names_of, unknown_names
from include.linting.sentences import Sentence, sentences_of
from include.spec import ModelSpec, SpecModel
from include.spec.model import RULES

_FAILURES: Final = (Exception, SystemExit)
_SLOW: Final = frozenset({"sklearn", "numpy", "pandas", "scipy", "xgboost", "lightgbm", "catboost", "torch"})


class Placeholder:
    """Stands for a value that could not be made: it can be called, and gives itself for everything."""

    def __call__(self, *_args: object, **_kwargs: object) -> Placeholder:
        """Return the placeholder itself."""
        return self

    def __getattr__(self, name: str) -> Placeholder:
        if name.startswith("__"):
            raise AttributeError(name)
        return self

    def __getitem__(self, _key: object) -> Placeholder:
        return self

    def __iter__(self) -> Iterator[Placeholder]:
        return iter((self,))

    def _combined(self, _other: object = None) -> Placeholder:
        return self

    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = _combined
    __or__ = __ror__ = __neg__ = _combined


@dataclass(frozen=True, slots=True)
class SpecReading:
    """What was read of a ``spec.py``.

    Attributes
    ----------
    spec : ModelSpec or None
        The declaration. With faults, it may lack fields: only what is known to be there may be used.
    findings : tuple of Finding
    sites : CallSites or None
        Where the parts of `spec` are written; None: the file is no Python.
    """

    spec: ModelSpec | None
    findings: tuple[Finding, ...]
    sites: CallSites | None = None

    def line(self, *path: str | int) -> int | None:
        """Return the line of a field of the declaration, such as ``"features", 2, "minimum"``."""
        return None if self.sites is None or self.spec is None else self.sites.line(self.spec, path)


def read_spec_file(file: Path) -> SpecReading:
    """Read a ``spec.py``, and find what is wrong with it."""
    try:
        text = file.read_bytes().decode("utf-8-sig")
        tree = ast.parse(text, str(file))
    except UnicodeDecodeError as error:
        sentence = f"expected a file in UTF-8; found byte {error.start + 1}, which is not"
        return SpecReading(None, (Finding(file, sentence, "Save the file as UTF-8."),))
    except OSError as error:
        return SpecReading(None, (Finding(file, f"expected a file that can be read; found: {error.strerror}"),))
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None)
        found = getattr(error, "msg", None) or str(error)
        hint = "Other faults of the file are found when Python can read it."
        return SpecReading(None, (Finding(file, f"expected Python; found: {found}", hint, line),))
    reader = _Reader(file, text, tree)
    return reader.read()


@dataclass
class _Reader:
    file: Path
    text: str
    tree: ast.Module
    findings: list[Finding] = field(default_factory=list)
    # Faults of parts, whose places in the declaration are known at the end.
    _faults: list[tuple[SpecModel, Sentence]] = field(default_factory=list)

    def read(self) -> SpecReading:
        known, ours = names_anywhere(self.text, self.tree), set(names_of("include.spec"))
        unknown = unknown_names(self.text, self.tree)
        for name, line in unknown:
            sentence = f"expected a name that is defined or imported; found '{name}'"
            hint = f"Import it: from include.spec import {name}." if name in ours else did_you_mean(name, known | ours)
            self._report(line, sentence, hint)
        self._warn_of_slow_imports()
        module = ModuleType(f"sluice_models.{self.file.parent.name}")
        module.__file__ = str(self.file)
        hooks = CallHooks()
        tree = hooks.visit(self.tree)
        self._calls, self._sites = hooks.calls, CallSites(hooks.original)
        namespace = vars(module)
        namespace |= {HOOK: self._call} | {name: Placeholder() for name, _ in unknown}
        for statement in tree.body:
            self._run(statement, namespace)
        spec = self._declared(namespace)
        self._place_faults(spec)
        return SpecReading(spec, tuple(sorted(self.findings, key=lambda each: each.line or 0)), self._sites)

    def _run(self, statement: ast.stmt, namespace: dict[str, Any]) -> None:
        if isinstance(statement, ast.Import | ast.ImportFrom):
            self._import(statement, namespace)
            return
        try:
            exec(self._compiled(statement), namespace)  # noqa: S102  # the user's own file, as Airflow runs it
        except _FAILURES as error:
            self._failed(error, statement.lineno)
            self._bind_placeholders(statement, namespace)

    def _compiled(self, statement: ast.stmt) -> Any:
        flags = __future__.annotations.compiler_flag if "from __future__ import annotations" in self.text else 0
        module = ast.Module([statement], [])
        return compile(module, str(self.file), "exec", flags=flags, dont_inherit=True)

    def _import(self, statement: ast.Import | ast.ImportFrom, namespace: dict[str, Any]) -> None:
        """Import name by name, so that one that is missing hides no other."""
        for alias in statement.names:
            single = type(statement)(**{**dict(ast.iter_fields(statement)), "names": [alias]})
            try:
                exec(self._compiled(ast.copy_location(single, statement)), namespace)  # noqa: S102
            except _FAILURES as error:
                self._failed_import(statement, alias, error)
                namespace[(alias.asname or alias.name).partition(".")[0]] = Placeholder()

    def _failed_import(self, statement: ast.Import | ast.ImportFrom, alias: ast.alias, error: BaseException) -> None:
        module = statement.module if isinstance(statement, ast.ImportFrom) else alias.name
        if isinstance(error, ModuleNotFoundError):
            sentence = f"expected a module that is installed; found no module '{error.name}'"
            hint = did_you_mean(str(error.name), _SLOW | {"include", "datetime", "typing", "functools", "math", "json"})
            self._report(alias.lineno, sentence, hint or "Install it where Airflow runs, or remove the import.")
        elif isinstance(error, ImportError) and module and names_of(module):
            sentence = f"expected a name of the module {module}; found '{alias.name}'"
            self._report(alias.lineno, sentence, did_you_mean(alias.name, names_of(module)))
        else:
            self._failed(error, alias.lineno)

    def _failed(self, error: BaseException, line: int) -> None:
        """Report the error of a statement, which is no fault of a part of the declaration."""
        ours = [each.lineno for each in traceback.extract_tb(error.__traceback__) if each.filename == str(self.file)]
        found = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no message'}"
        if isinstance(error, SystemExit):
            found = "that it ends Python (SystemExit)"
        hint = ""
        name = getattr(error, "name", None)
        if isinstance(error, AttributeError) and isinstance(name, str) and error.obj is not None:
            hint = did_you_mean(name, dir(error.obj))
        self._report(ours[-1] if ours else line, f"expected a file that runs without an error; found {found}", hint)

    def _call(self, number: int, function: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Call a function for the file; what fails is reported, and replaced by a placeholder."""
        call = self._calls[number]
        part = function if isinstance(function, type) and issubclass(function, SpecModel) else None
        try:
            made = function(*args, **kwargs)
        except ValidationError as error:
            if part is None:
                raise
            made = self._part_with_faults(part, kwargs, sentences_of(part, error, self._has_own_finding))
        except _FAILURES as error:
            if self._is_own(function):
                raise  # the call within it has its own finding
            if part is None:
                self._report_call(error, call)
                return Placeholder()
            made = self._failed_part(part, args, kwargs, error, call)
        if isinstance(made, SpecModel):
            self._sites.add(made, call)
        return made

    def _has_own_finding(self, value: Any) -> bool:
        return _holds_placeholder(value) or any(value is part for part, _ in self._faults)

    def _failed_part(
        self, part: type[SpecModel], args: tuple[Any, ...], kwargs: dict[str, Any], error: BaseException, call: ast.Call
    ) -> SpecModel:
        """Return a part whose constructor raised: given values without names, or a check that met a faulty part."""
        if args:
            named = next(name for name in part.model_fields if name != "kind")
            hint = f"Write the name of each field: {part.__name__}({named}=..., ...)."
            self._report(call.lineno, f"expected named arguments; found {len(args)} without a name", hint)
        elif not self._faults:
            self._report_call(error, call)
        return self._part_with_faults(part, kwargs, [])

    def _part_with_faults(self, part: type[SpecModel], values: dict[str, Any], sentences: list[Sentence]) -> SpecModel:
        """Return a part with the values that it was given, and remember what is wrong with it."""
        given = {name: value for name, value in values.items() if name in part.model_fields}
        if "kind" in part.model_fields:
            given["kind"] = part.model_fields["kind"].default
        made = part.model_construct(**given)
        self._faults += [(made, sentence) for sentence in sentences]
        if isinstance(made, ModelSpec):
            self._faults += [(made, each) for each in _further_faults(made, given, sentences)]
        return made

    def _report_call(self, error: BaseException, call: ast.Call) -> None:
        named = ast.unparse(call.func) if isinstance(call.func, ast.Name | ast.Attribute) else "the call"
        text = str(error).splitlines()[0] if str(error) else type(error).__name__
        if isinstance(error, SystemExit):
            text = "it ends Python (SystemExit)"
        if type(error) is ValueError:
            self._report(call.lineno, text)
        else:
            self._report(call.lineno, f"expected a call that returns; found that {named} fails: {text}")

    def _is_own(self, function: Any) -> bool:
        code = getattr(function, "__code__", None)
        return code is not None and code.co_filename == str(self.file)

    def _declared(self, namespace: dict[str, Any]) -> ModelSpec | None:
        """Return the one declaration of the file; there may be several names for it."""
        specs = list({id(each): each for each in namespace.values() if isinstance(each, ModelSpec)}.values())
        if len(specs) == 1:
            self._check_name(specs[0])
            return specs[0]
        if specs or not self.findings:
            last = self._sites.line(specs[-1], ()) if specs else None
            hint = (
                "Assign it to a name: spec = ModelSpec(...)." if not specs else "Move the others to folders of theirs."
            )
            self._report(last, f"expected exactly one ModelSpec in the file; found {len(specs)}", hint, field="spec")
        return specs[0] if specs else None

    def _check_name(self, spec: ModelSpec) -> None:
        folder = self.file.parent.name
        name = getattr(spec, "name", None)
        invalid = any(part is spec and sentence.path == ("name",) for part, sentence in self._faults)
        if isinstance(name, str) and name != folder and not invalid:
            sentence = f"expected the folder's name, '{folder}'; found '{name}'"
            self._report(self._sites.line(spec, ("name",)), sentence, "Change it, or rename the folder.", field="name")

    def _place_faults(self, spec: ModelSpec | None) -> None:
        """Turn the faults of parts into findings, with the whole path of each in the declaration."""
        paths = {} if spec is None else dict(_paths_of_parts(spec))
        for part, sentence in self._faults:
            within = paths.get(id(part))
            path = (*(within or ()), *sentence.path)
            named = ".".join(str(each) for each in path)
            if within is None:
                named = ".".join([type(part).__name__, *(str(each) for each in sentence.path)])
            feature = _feature_at(spec, path) if within is not None else getattr(part, "name", None)
            self._report(
                self._sites.line(part, sentence.path),
                sentence.text,
                sentence.hint,
                field=named or None,
                feature=feature,
            )

    def _report(
        self, line: int | None, sentence: str, hint: str = "", *, field: str | None = None, feature: object = None
    ) -> None:
        named = feature if isinstance(feature, str) else None
        finding = Finding(self.file, sentence, hint, line, field, named)
        if finding not in self.findings:
            self.findings.append(finding)

    def _warn_of_slow_imports(self) -> None:
        for statement in self.tree.body:
            if not isinstance(statement, ast.Import | ast.ImportFrom):
                continue
            modules = (
                [alias.name for alias in statement.names] if isinstance(statement, ast.Import) else [statement.module]
            )
            slow = sorted({str(each).partition(".")[0] for each in modules} & _SLOW)
            if slow:
                sentence = f"expected no import of {slow[0]} at the top: Airflow reads this file every few seconds"
                hint = "Import it in the function that builds the estimator."
                self.findings.append(Finding(self.file, sentence, hint, statement.lineno, severity="warning"))

    def _bind_placeholders(self, statement: ast.stmt, namespace: dict[str, Any]) -> None:
        """Bind the names that a failed statement would have bound."""
        for node in ast.walk(statement):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                namespace.setdefault(node.id, Placeholder())
        if isinstance(statement, ast.FunctionDef | ast.ClassDef):
            namespace.setdefault(statement.name, Placeholder())


def _holds_placeholder(value: Any) -> bool:
    if isinstance(value, list | tuple | set):
        return any(_holds_placeholder(each) for each in value)
    return isinstance(value, Placeholder)


def _further_faults(spec: ModelSpec, given: dict[str, Any], found: list[Sentence]) -> Iterator[Sentence]:
    """Yield what is wrong between the valid fields of a declaration that has invalid ones."""
    if any(not each.path for each in found) and set(ModelSpec.model_fields) <= set(given):
        return
    invalid = {str(each.path[0]) for each in found if each.path}
    invalid |= {name for name, value in given.items() if _holds_placeholder(value)}
    invalid |= {name for name, each in ModelSpec.model_fields.items() if each.is_required() and name not in given}
    known = {each.text for each in found}
    for fields, find in RULES.items():
        if invalid & set(fields):
            continue
        with contextlib.suppress(Exception):  # a part with a fault, which has its own finding, may lack anything
            yield from (Sentence(fault.path, fault.message) for fault in find(spec) if fault.message not in known)


def _paths_of_parts(value: object, path: tuple[str | int, ...] = ()) -> Iterator[tuple[int, tuple[str | int, ...]]]:
    """Yield the id of each part within a part, and its path."""
    if isinstance(value, SpecModel):
        yield id(value), path
        for name in type(value).model_fields:
            yield from _paths_of_parts(value.__dict__.get(name), (*path, name))
    elif isinstance(value, tuple | list):
        for position, each in enumerate(value):
            yield from _paths_of_parts(each, (*path, position))


def _feature_at(spec: ModelSpec | None, path: tuple[str | int, ...]) -> object:
    if spec is None or len(path) < 2 or path[0] != "features" or not isinstance(path[1], int):
        return None
    features = spec.__dict__.get("features", ())
    return getattr(features[path[1]], "name", None) if path[1] < len(features) else None
