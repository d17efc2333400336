"""Keys: from files, from the environment or, without either, a pair under ``<home>/keys``."""

from __future__ import annotations

import base64
import binascii
import contextlib
import os
import uuid
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from include.errors import SettingsError
from include.settings import Settings
from include.signing.signature import Signer, key_id_of, verify

SIGNING = "signing.pem"
TRUSTED = "trusted"
PEM_START = b"-----BEGIN"


class Keyring:
    """The keys with which this process signs and verifies.

    Keys are read again each time, so that a rotation needs no restart. Verification never reads the private key.

    Parameters
    ----------
    folder : Path
        Contains ``signing.pem`` and ``trusted/*.pem`` when no key is configured.
    signing_key : str, optional
        A private key: the path of a PEM file, or the line of base64 in such a file.
    trusted_keys : str, optional
        Public keys in the same forms, separated by commas or spaces.
    """

    def __init__(
        self,
        folder: Path,
        *,
        signing_key: str | None = None,
        trusted_keys: str | None = None,
    ) -> None:
        self.folder = folder
        self._signing_key = signing_key
        self._trusted_keys = trusted_keys

    @classmethod
    def of(cls, settings: Settings) -> Keyring:
        """Return the keyring that the settings configure."""
        secret = settings.signing_key
        return cls(
            settings.keys_dir,
            signing_key=None if secret is None else secret.get_secret_value(),
            trusted_keys=settings.trusted_keys,
        )

    def signer(self) -> Signer:
        """Return the signer; generate a pair of keys when no key is configured and there is none.

        Raises
        ------
        SettingsError
            When a key cannot be read, or only public keys are configured: a generated key would not be trusted.
        """
        if self._signing_key is not None:
            return Signer(_private(_content(self._signing_key, "SLUICE_SIGNING_KEY"), "SLUICE_SIGNING_KEY"))
        if self._trusted_keys is not None:
            raise SettingsError(
                "SLUICE_SIGNING_KEY: expected the private key that signs artifacts, since "
                "SLUICE_TRUSTED_KEYS lists the trusted keys; found none. Set it where models are trained; "
                "`sluice keys generate FOLDER` makes a pair."
            )
        file = self.folder / SIGNING
        if not file.exists():
            _make_embedded(self.folder)
        key = _private(file.read_bytes(), str(file))
        _trust(self.folder, key.public_key())
        return Signer(key)

    def trusted(self) -> tuple[Ed25519PublicKey, ...]:
        """Return the trusted public keys: the configured ones, the signing key's own, or else those of the folder."""
        own = () if self._signing_key is None else (self._own_public(self._signing_key),)
        if self._trusted_keys is not None:
            named = self._trusted_keys.replace(",", " ").split()
            return (*(_public(_content(each, "SLUICE_TRUSTED_KEYS"), each) for each in named), *own)
        files = sorted((self.folder / TRUSTED).glob("*.pem"))
        return (*(_public(file.read_bytes(), str(file)) for file in files), *own)

    def trusted_lines(self) -> tuple[str, ...]:
        """Return the trusted keys, each as a line of base64 for SLUICE_TRUSTED_KEYS."""
        encoding, form = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        return tuple(base64.b64encode(key.public_bytes(encoding, form)).decode() for key in self.trusted())

    def verify(self, content: bytes, signed: bytes, *, thing: str) -> str:
        """Check that a trusted key signed exactly `content`; see `include.signing.verify`."""
        return verify(content, signed, self.trusted(), thing=thing)

    def rotate(self) -> Signer:
        """Generate a new embedded pair that signs from now on; signatures of the old pair stay trusted.

        Raises
        ------
        SettingsError
            When the key comes from the environment, where it must be changed.
        """
        if self._signing_key is not None or self._trusted_keys is not None:
            raise SettingsError(
                "SLUICE_SIGNING_KEY, SLUICE_TRUSTED_KEYS: expected neither, to rotate the embedded pair; found one. "
                "Make a pair with `sluice keys generate FOLDER`, add its public key to SLUICE_TRUSTED_KEYS everywhere, "
                "then change SLUICE_SIGNING_KEY."
            )
        former = self.folder / SIGNING
        if former.exists():
            _trust(self.folder, _private(former.read_bytes(), str(former)).public_key())
            former.unlink()
        return self.signer()

    @staticmethod
    def _own_public(signing_key: str) -> Ed25519PublicKey:
        return _private(_content(signing_key, "SLUICE_SIGNING_KEY"), "SLUICE_SIGNING_KEY").public_key()


def write_pair(folder: Path) -> tuple[Path, Path]:
    """Write a new pair, ``signing.pem`` (readable only by its owner) and ``<key id>.pem``; return both paths.

    Raises
    ------
    SettingsError
        When there is already a private key: it is never overwritten.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    key = Ed25519PrivateKey.generate()
    private = folder / SIGNING
    try:
        descriptor = os.open(private, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise SettingsError(f"{private}: expected no key in the folder; found one. Choose another folder.") from error
    with os.fdopen(descriptor, "wb") as file:
        file.write(_pem(key))
    public = folder / f"{key_id_of(key.public_key())}.pem"
    public.write_bytes(_pem(key.public_key()))
    return private, public


def _make_embedded(folder: Path) -> None:
    """Generate ``signing.pem``, complete or not at all; if several processes do so, one wins and all use its key."""
    folder.mkdir(parents=True, exist_ok=True)
    staged = folder / f".{uuid.uuid4().hex}.tmp"
    descriptor = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(_pem(Ed25519PrivateKey.generate()))
        file.flush()
        os.fsync(file.fileno())
    with contextlib.suppress(FileExistsError):
        os.link(staged, folder / SIGNING)
    staged.unlink()


def _trust(folder: Path, key: Ed25519PublicKey) -> None:
    file = folder / TRUSTED / f"{key_id_of(key)}.pem"
    if not file.exists():
        file.parent.mkdir(exist_ok=True)
        staged = file.with_suffix(f".{uuid.uuid4().hex}.tmp")
        staged.write_bytes(_pem(key))
        staged.rename(file)


def _content(named: str, variable: str) -> bytes:
    """Return the key's text: that of the file if `named` is a path, otherwise `named` itself."""
    if named.encode().startswith(PEM_START):
        return named.encode()
    with contextlib.suppress(binascii.Error, ValueError):
        if len(base64.b64decode(named, validate=True)) in (
            44,
            48,
        ):  # sizes of an Ed25519 key in DER, public and private
            return named.encode()
    try:
        return Path(named).read_bytes()
    except OSError as error:
        raise SettingsError(
            f"{variable}: expected the path of a PEM file, or the line of base64 that such a file holds; "
            f"{error.strerror} ({len(named)} characters). Correct the variable and start again."
        ) from error


def _private(content: bytes, where: str) -> Ed25519PrivateKey:
    try:
        if content.startswith(PEM_START):
            key = serialization.load_pem_private_key(content, password=None)
        else:
            key = serialization.load_der_private_key(base64.b64decode(content), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise _no_key(where, "private") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise _no_key(where, "private")
    return key


def _public(content: bytes, where: str) -> Ed25519PublicKey:
    try:
        if content.startswith(PEM_START):
            key = serialization.load_pem_public_key(content)
        else:
            key = serialization.load_der_public_key(base64.b64decode(content))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise _no_key(where, "public") from error
    if not isinstance(key, Ed25519PublicKey):
        raise _no_key(where, "public")
    return key


def _no_key(where: str, kind: str) -> SettingsError:
    return SettingsError(
        f"{where}: expected a {kind} Ed25519 key without a passphrase; found something else. "
        "`sluice keys generate FOLDER` makes a pair."
    )


def _pem(key: Ed25519PrivateKey | Ed25519PublicKey) -> bytes:
    if isinstance(key, Ed25519PrivateKey):
        return key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
