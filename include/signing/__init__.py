"""Who vouches for what: Ed25519 signatures, the key that makes them, and the keys that are trusted.

Whoever trains has the private key. The service and batch scoring need public keys alone. With
nothing set, a pair of keys is made under ``<home>/keys`` when something is first signed.
"""

from include.signing.keys import Keyring, write_pair
from include.signing.signature import Signed, Signer, key_id_of, verify

__all__ = ["Keyring", "Signed", "Signer", "key_id_of", "verify", "write_pair"]
