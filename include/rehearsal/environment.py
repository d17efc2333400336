"""The settings of the service under rehearsal: those of production, except what would affect production."""

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
MAX_WORKERS = 2


def service_environment(settings: Settings, model: str, home: Path, pin: Pin, port: int, secret: str) -> dict[str, str]:
    """Return the whole environment of a service on `port` that serves the one version of `model`.

    Parameters
    ----------
    settings : Settings
        The settings of production.
    home : Path
        The scratch home, with the artifact and the declaration.
    pin : Pin
    secret : str
        The secret for the tokens of this service.
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
            "service_workers": min(settings.service_workers, MAX_WORKERS),
            # The rate limit would reject the load. Samples, metrics and alerts would look like those of clients.
            "service_rate_limit": 0,
            "service_sample_rate": 0,
            "statsd_host": None,
            "alert_channels": {},
            # The service checks tokens as in production, but with the secret of this rehearsal.
            "auth_secret": SecretStr(secret),
            "auth_public_key": None,
            "auth_jwks_url": None,
            # It verifies artifacts with production's trusted public keys, and has no private key.
            "signing_key": None,
            "trusted_keys": _trusted_keys(settings),
            # A pinned service uses no database: the candidate is not in the ledger yet, and production's is not
            # touched.
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
    """Return the environment variables from which a child reads these settings; unset ones stay unset."""
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
    """Return the public keys that the service trusts in production, each as one line of base64."""
    named = settings.trusted_keys is not None
    # The host of training trusts its own key. A service with SLUICE_TRUSTED_KEYS trusts only the keys listed there.
    keyring = Keyring.of(settings.model_copy(update={"signing_key": None}) if named else settings)
    return ",".join(keyring.trusted_lines())
