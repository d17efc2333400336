"""No Airflow DAG of its own: this file fails to import while a declaration is broken.

So the UI's import-error banner names the file, the field, what was expected and what was found, and
goes away when the declaration is mended; meanwhile the DAGs of all other models parse and run.
"""

from __future__ import annotations

from include.errors import SluiceError
from include.models import declared_models
from include.settings import load_settings

if faults := declared_models(load_settings().models_dir).broken:
    raise SluiceError("\n".join(str(fault) for fault in faults))
