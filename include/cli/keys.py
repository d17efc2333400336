"""``sluice keys``: list keys, generate a pair for production, or rotate the embedded pair."""

from __future__ import annotations

import sys
from argparse import Namespace
from pathlib import Path

from include.errors import SluiceError
from include.settings import Settings
from include.signing import Keyring, key_id_of, write_pair


def keys(arguments: Namespace, settings: Settings) -> int:
    """List the keys, write a new pair into a folder, or replace the embedded pair."""
    keyring = Keyring.of(settings)
    if arguments.action == "generate":
        return _make(arguments.folder)
    if arguments.folder is not None:
        raise SluiceError(f"keys {arguments.action}: expected no folder; found {arguments.folder}. Leave it out.")
    if arguments.action == "rotate":
        sys.stdout.write(f"Key {keyring.rotate().key_id} signs from now on; earlier keys stay trusted.\n")
    trusted = [key_id_of(key) for key in keyring.trusted()]
    sys.stdout.write(f"trusted: {', '.join(trusted) or 'none yet; the first training makes a pair'}\n")
    return 0


def _make(folder: Path | None) -> int:
    if folder is None:
        raise SluiceError("keys generate: expected a folder for the key pair; found none. Add one.")
    private, public = write_pair(folder)
    sys.stdout.write(
        f"SLUICE_SIGNING_KEY={private}   where models are trained, and nowhere else\n"
        f"SLUICE_TRUSTED_KEYS={public}   everywhere; to rotate, name the old one, too\n"
    )
    return 0
