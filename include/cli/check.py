"""`sluice check [MODEL]`: all faults of a declaration and of its data, each with its line."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from include.cli import exit_status
from include.cli.output import show
from include.errors import UnknownModelError
from include.settings import Settings

if TYPE_CHECKING:
    from include.checking import ModelCheck

_NO_DATABASE: Final = (
    "NOT CHECKED: features.sql in the database, and the rows. Set SLUICE_DATABASE_URL, or run `sluice migrate` to make "
    "the embedded server; --no-database says that none is wanted."
)


def check(arguments: Namespace, settings: Settings) -> int:
    """Check one model or all, print the findings, and return 1 if there is an error, 4 if the data were not checked."""
    files = _files(settings.models_dir, arguments.model)
    as_of = arguments.as_of or datetime.now(UTC)
    if len(files) > 1:
        import_module("sklearn.ensemble")  # each check forks: otherwise each would import scikit-learn for itself
    with _database(settings, arguments) as url:
        checks = [_checked(file, url, as_of, settings, as_json=arguments.json) for file in files]
    if arguments.json:
        show(arguments, [_as_json(each) for each in checks], ())
    elif not files:
        sys.stdout.write(f"There are no models in {settings.models_dir}. `sluice new` makes one.\n")
    unchecked = (url is None and bool(files)) or any(each.database_failed for each in checks)
    incomplete = unchecked and not arguments.no_database
    if incomplete:
        sys.stderr.write(f"sluice: {_NO_DATABASE}\n")
    if any(each.has_errors for each in checks):
        return exit_status.FAILED
    return exit_status.DATABASE_FAILED if incomplete else 0


def _files(models_dir: Path, model: str | None) -> list[Path]:
    files = {file.parent.name: file for file in sorted(models_dir.glob("*/spec.py"))}
    if model is None:
        return list(files.values())
    if model not in files:
        raise UnknownModelError(model, list(files))
    return [files[model]]


@contextmanager
def _database(settings: Settings, arguments: Namespace) -> Iterator[str | None]:
    """Yield the URL of the database; None if none is wanted, or there is none. Nothing is created or migrated."""
    if arguments.no_database or settings.database_url is not None:
        yield None if arguments.no_database else settings.database_url
        return
    from include.warehouse.embedded import embedded_server, has_embedded

    if not has_embedded(settings.home):
        yield None
        return
    with embedded_server(settings.home) as url:
        yield url


def _checked(file: Path, url: str | None, as_of: datetime, settings: Settings, *, as_json: bool) -> ModelCheck:
    from include.checking import check_model  # a second of imports

    found = check_model(file, database_url=url, as_of=as_of, memory_mib=settings.train_memory_mib)
    if not as_json:
        sys.stdout.write("\n".join(_lines(found)) + "\n")
        sys.stdout.flush()
    return found


def _lines(found: ModelCheck) -> Iterator[str]:
    errors = sum(finding.severity == "error" for finding in found.findings)
    warnings = len(found.findings) - errors
    yield f"{found.model}: {_counted(errors, 'error')}, {_counted(warnings, 'warning')} ({found.seconds:.1f} s)"
    yield from (str(finding) for finding in found.findings)
    yield from (f"  not checked: {each}" for each in found.skipped)
    if found.cost is not None:
        cost = found.cost
        yield (
            f"  a training on its {cost.rows:,} rows: about {_duration(cost.fit_seconds)} to fit, "
            f"at most about {cost.memory_mib:,} MiB"
        )


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number or 'no'} {noun}s"


def _duration(seconds: float) -> str:
    if seconds < 1:
        return "a second"
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} minutes"


def _as_json(found: ModelCheck) -> dict[str, Any]:
    cost = found.cost
    return {
        "model": found.model,
        "findings": [finding.as_json() for finding in found.findings],
        "skipped": list(found.skipped),
        "training": None
        if cost is None
        else {"rows": cost.rows, "fit_seconds": round(cost.fit_seconds, 1), "memory_mib": cost.memory_mib},
        "seconds": round(found.seconds, 2),
    }
