#!/bin/sh
# Writes deploy/compose/.env: env.example with a new random value for each secret. Never overwrites an existing file.
set -eu
cd "$(dirname "$0")"

if [ -e .env ]; then
    printf 'new-env: deploy/compose/.env already exists and is kept: the databases were created with its passwords.\n' >&2
    exit 1
fi
if ! command -v openssl >/dev/null; then
    printf 'new-env: expected the program openssl, which generates the key pair for artifacts; found none. Install it.\n' >&2
    exit 1
fi
umask 077
python3 - <<'PYTHON'
import base64
import secrets
import subprocess
from pathlib import Path

# The line between the first and the last of a PEM file is the whole key.
private = subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519"], check=True, capture_output=True).stdout
public = subprocess.run(["openssl", "pkey", "-pubout"], input=private, check=True, capture_output=True).stdout
pair = {"SLUICE_SIGNING_KEY": private, "SLUICE_TRUSTED_KEYS": public}


def filled(line: str) -> str:
    name, equals, value = line.partition("=")
    if not equals or value or not name.isidentifier():
        return line
    if name in pair:
        return f"{name}={pair[name].splitlines()[1].decode()}"
    if name == "SLUICE_AIRFLOW_FERNET_KEY":
        return f"{name}={base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()}"
    return f"{name}={secrets.token_hex(48 if name == 'SLUICE_AIRFLOW_JWT_SECRET' else 24)}"


lines = Path("env.example").read_text(encoding="utf-8").splitlines()
Path(".env").write_text("\n".join(map(filled, lines)) + "\n", encoding="utf-8")
PYTHON
printf 'new-env: wrote deploy/compose/.env. Next: docker compose --env-file deploy/compose/.env up --build --wait\n'
printf 'new-env: then log in at http://127.0.0.1:8080 as user admin; the password is SLUICE_UI_PASSWORD in that file.\n'
