"""Ed25519 signatures, the key that signs, and the trusted keys.

The host of training has the private key. The service and batch scoring need only public keys. Without configured keys,
a pair is generated under ``<home>/keys`` at the first signature.
"""

from include.signing.keys import Keyring, write_pair
from include.signing.signature import Signed, Signer, key_id_of, verify

__all__ = ["Keyring", "Signed", "Signer", "key_id_of", "verify", "write_pair"]
