"""The settings of the service under rehearsal: production's, but for what would reach production."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from pydantic import SecretStr

from include.settings import REPOSITORY, Pin, Settings, child_environment
from include.signing import Keyring

HOST: Final = "127.0.0.1"
ANSWER_SECONDS: Final = 30.0
MOST_WORKERS = 2


def service_environment(settings: Settings, model: str, home: Path, pin: Pin, port: int, secret: str) -> dict[str, str]:
    """Return the whole environment of a service on `port` that serves the one version of `model`.

    Parameters
    ----------
    settings : Settings
        Production's.
    home : Path
        The scratch home, with the artifact and the declaration.
    pin : Pin
    secret : str
        Signs the tokens that this service takes.
    """
    changed = settings.model_copy(
        update={
            "home": home,
            "artifacts_url": None,
            "models_dir": home / "models",
            "default_model": model,
            "service_pinned_versions": {model: pin},
            "service_host": HOST,
            "service_port": port,
            "service_workers": min(settings.service_workers, MOST_WORKERS),
            # What would refuse the load, or tell the world of it as if clients had come.
            "service_rate_limit": 0,
            "service_sample_rate": 0,
            "statsd_host": None,
            "alert_channels": {},
            # The service checks tokens as in production, but only ones of this rehearsal.
            "auth_secret": SecretStr(secret),
            "auth_public_key": None,
            "auth_jwks_url": None,
            # It checks signatures with the public keys that production's trusts, and has no private one.
            "signing_key": None,
            "trusted_keys": _trusted_keys(settings),
            # A pinned service asks no database: the candidate is in no ledger yet, and production's is left alone.
            "database_url": None,
            "service_database_url": None,
            "trainer_database_url": None,
            "approver_database_url": None,
        }
    )
    inherited = child_environment({}, without=("AIRFLOW", "SLUICE_"))
    path = os.pathsep.join((str(REPOSITORY), *filter(None, [inherited.get("PYTHONPATH")])))
    return inherited | _variables(changed) | {"PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}


def _variables(settings: Settings) -> dict[str, str]:
    """Return the variables from which a child reads these very settings; what was never set stays unset."""
    variables = {}
    for name in sorted(settings.model_fields_set):
        value = getattr(settings, name)
        if value is None:
            continue
        if isinstance(value, SecretStr):
            value = value.get_secret_value()
        elif isinstance(value, Mapping):
            value = json.dumps(settings.model_dump(mode="json", include={name})[name])
        variables[f"SLUICE_{name.upper()}"] = str(value)
    return variables


def _trusted_keys(settings: Settings) -> str:
    """Return the public keys that the service trusts in production, each as its one line."""
    named = settings.trusted_keys is not None
    # Where training runs, its own key is trusted; a service that is told whom to trust knows only those.
    keyring = Keyring.of(settings.model_copy(update={"signing_key": None}) if named else settings)
    return ",".join(keyring.trusted_lines())
