"""Defines no Airflow DAG: this file fails to import while a declaration is invalid.

The import-error banner of the UI then names the file, the field, the expected and the found value, and disappears when
the declaration is corrected. The DAGs of all other models are parsed and run meanwhile.
"""

from __future__ import annotations

from include.errors import SluiceError
from include.models import declared_models
from include.settings import load_settings

if faults := declared_models(load_settings().models_dir).broken:
    raise SluiceError("\n".join(str(fault) for fault in faults))
