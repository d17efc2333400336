#!/bin/sh
# Runs once per start, before everything else: migrates the schemas of Sluice and of Airflow, and sets the UI's logins.
set -eu

sluice migrate
airflow db migrate
# The pool that keeps the database within SLUICE_DATABASE_MAX_CONNECTIONS.
slots=$(python -c 'from include.settings import load_settings; print(load_settings().database_pool_size)')
airflow pools set sluice_database "$slots" "Tasks of Sluice that work in the database"
umask 077
python - <<'PYTHON'
import json
import os
from pathlib import Path

file = Path(os.environ["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE"])
file.parent.mkdir(parents=True, exist_ok=True)
file.write_text(json.dumps({"admin": os.environ["SLUICE_UI_PASSWORD"]}) + "\n", encoding="utf-8")
PYTHON
