"""One signature: made with a private key, verified with the trusted public keys.

Sources
-------
Ed25519: RFC 8032. The signature is over the unchanged bytes, so that any other tool can verify it, too.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterable
from typing import Literal

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from pydantic import ValidationError

from include.errors import SignatureError
from include.records import Record

KEY_ID_LENGTH = 16


class Signed(Record):
    """A signature as it is stored: with its format, and the key that verifies it."""

    format_version: Literal[1] = 1
    algorithm: Literal["ed25519"] = "ed25519"
    key_id: str
    signature: str


class Signer:
    """Signs with one private key."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.key_id = key_id_of(key.public_key())

    def sign(self, content: bytes) -> bytes:
        """Return the signature of `content` as the JSON text of a `Signed`."""
        signature = base64.b64encode(self._key.sign(content)).decode()
        return Signed(key_id=self.key_id, signature=signature).model_dump_json(indent=2).encode() + b"\n"


def key_id_of(key: Ed25519PublicKey) -> str:
    """Return the first 16 hex digits of the SHA-256 of the raw public key."""
    return hashlib.sha256(key.public_bytes_raw()).hexdigest()[:KEY_ID_LENGTH]


def verify(content: bytes, signed: bytes, trusted: Iterable[Ed25519PublicKey], *, thing: str) -> str:
    """Verify that a trusted key signed exactly `content`, and return the key's id.

    Parameters
    ----------
    signed : bytes
        The text that `Signer.sign` returned.
    trusted : iterable of Ed25519PublicKey
    thing : str
        A description of what was signed, for error messages.

    Raises
    ------
    SignatureError
        When the text is not a signature, its key is not trusted, or it is for other bytes.
    """
    try:
        claim = Signed.model_validate_json(signed)
        signature = base64.b64decode(claim.signature, validate=True)
    except (ValidationError, binascii.Error) as error:
        raise SignatureError(
            f"{thing}: expected a signature of format 1 (ed25519); found something else. "
            "Restore it from a backup, or roll back to another version."
        ) from error
    keys = {key_id_of(key): key for key in trusted}
    if claim.key_id not in keys:
        raise SignatureError(
            f"{thing}: expected a signature by a trusted key ({', '.join(sorted(keys)) or 'none is trusted'}); found "
            f"one by {claim.key_id}. If that key is yours, add its public key to SLUICE_TRUSTED_KEYS; "
            "if not, restore it from a backup, or roll back to another version."
        )
    try:
        keys[claim.key_id].verify(signature, content)
    except InvalidSignature as error:
        raise SignatureError(
            f"{thing}: expected the signature of these bytes by key {claim.key_id}; found another. They were "
            "changed after they were signed: restore them from a backup, or roll back to another version."
        ) from error
    return claim.key_id
