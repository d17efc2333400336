"""``sluice serve``: the online service alone, in the foreground, until Ctrl-C."""

from __future__ import annotations

import os
import sys
from argparse import Namespace

from include.cli.completion import declared_names
from include.settings import Settings, child_environment
from include.warehouse import embedded_server, migrate


def serve(arguments: Namespace, settings: Settings) -> int:
    """Become the service: ``python -m model_service``, as the local stack starts it. It does not return.

    The process is replaced, no child is started: signals, among them Ctrl-C, and the exit status are the service's own.
    """
    changes = {
        f"SLUICE_SERVICE_{name.upper()}": str(value)
        for name in ("host", "port", "workers")
        if (value := getattr(arguments, name)) is not None
    }
    model = arguments.model or _only_model(settings)
    if model is not None:
        changes["SLUICE_DEFAULT_MODEL"] = model
    if settings.database_url is None and not settings.service_pinned_versions:
        with embedded_server(settings.home) as url:
            migrate(url)  # the service only reads: nobody else may have made the schemas
    environment = child_environment({"PYTHONUNBUFFERED": "1", **changes})
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(sys.executable, [sys.executable, "-m", "model_service"], environment)  # noqa: S606  # no shell


def _only_model(settings: Settings) -> str | None:
    """Return the only declared model: without a setting, ``POST /predict`` uses it. None when there are several."""
    names = declared_names(settings)
    return names[0] if len(names) == 1 and "default_model" not in settings.model_fields_set else None
