"""An issuer of tokens, and what it may do wrong when the service reads its JWK Set."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

RSA = rsa.generate_private_key(65537, 2048)
EC = ec.generate_private_key(ec.SECP256R1())


def jwk(kid: str, key: Any = RSA, **changes: Any) -> dict[str, Any]:
    algorithm: Any = RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else ECAlgorithm
    return algorithm.to_jwk(key.public_key(), as_dict=True) | {"kid": kid, "use": "sig"} | changes


def key_set(*keys: Any) -> bytes:
    return json.dumps({"keys": list(keys)}).encode()


def signed(kid: str, key: Any = RSA, **changes: Any) -> str:
    now = int(time.time())
    claims = {"iss": "sluice", "aud": "sluice", "sub": "shop", "exp": now + 600, "scope": "predict metrics"} | changes
    return jwt.encode(claims, key, "RS256" if key is RSA else "ES256", headers={"kid": kid})


def response(body: bytes, status: str = "200 OK", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


class Issuer:
    """A server that answers each connection with `send`, whatever was requested."""

    def __init__(self, send: Callable[[socket.socket], None]) -> None:
        self.send, self.connections = send, 0
        self.server = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.server.getsockname()[1]}/jwks"
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self.server.accept()
                self.connections += 1
                threading.Thread(target=self.answer, args=(connection,), daemon=True).start()

    def answer(self, connection: socket.socket) -> None:
        with suppress(OSError), connection:
            connection.recv(65_536)
            self.send(connection)


def dripping(content: bytes, pause: float = 0.1) -> Callable[[socket.socket], None]:
    def send(connection: socket.socket) -> None:
        for byte in content:
            connection.sendall(bytes([byte]))
            time.sleep(pause)

    return send


def endless(start: bytes, piece: bytes) -> Callable[[socket.socket], None]:
    def send(connection: socket.socket) -> None:
        connection.sendall(start)
        while True:
            connection.sendall(piece)

    return send


def silent(connection: socket.socket) -> None:
    connection.recv(1)
