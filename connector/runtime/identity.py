"""Service identity: who calls whom, proven by short-lived signed tokens (JWT, EdDSA).

Each service holds its own Ed25519 private key; everybody holds everybody's public keys. A token names its issuer, its
one audience and lives for a minute, so a token taken from a log or a proxy opens nothing else and not for long.
"""

import json
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from connector.runtime.settings import IdentitySettings

ALGORITHM = "EdDSA"
LIFETIME = 60
LEEWAY = 30
"""Seconds two hosts' clocks may differ."""


class Unidentified(Exception):
    """Raised when a caller does not prove who it is; the text says which proof was missing, never the token."""


class ServiceSigner:
    """Signs this service's calls to one other service."""

    def __init__(self, service: str, key: Ed25519PrivateKey, *, clock: Callable[[], float] = time.time) -> None:
        self._service = service
        self._key = key
        self._clock = clock

    @classmethod
    def from_settings(cls, settings: IdentitySettings) -> "ServiceSigner":
        """Reads the private key file of *settings*."""
        key = load_pem_private_key(settings.key_file.read_bytes(), password=None)
        if not isinstance(key, Ed25519PrivateKey):
            raise TypeError(f"{settings.key_file} holds a {type(key).__name__}, an Ed25519 key is needed")
        return cls(settings.service, key)

    def headers(self, audience: str) -> dict[str, str]:
        """The header that proves this service to *audience*."""
        now = int(self._clock())
        claims = {
            "iss": self._service,
            "aud": audience,
            "iat": now,
            "exp": now + LIFETIME,
            "jti": uuid.uuid4().hex,
        }
        return {"Authorization": f"Bearer {jwt.encode(claims, self._key, algorithm=ALGORITHM)}"}


class ServiceVerifier:
    """Tells which trusted service sent a request to *audience* (this service)."""

    def __init__(self, audience: str, trusted: Mapping[str, str]) -> None:
        self._audience = audience
        self._trusted = dict(trusted)

    @classmethod
    def from_settings(cls, settings: IdentitySettings) -> "ServiceVerifier":
        """Reads the trusted public keys: JSON `{"service": "PEM", …}`."""
        return cls(settings.service, json.loads(Path(settings.trusted_file).read_text()))

    def caller(self, authorization: str | None) -> str:
        """The name of the service behind an `Authorization` header.

        Raises:
            Unidentified: No header, an unknown issuer, a wrong signature, another audience, or too old.
        """
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise Unidentified("no bearer token: calls between services carry a signed identity")
        try:
            issuer = jwt.decode(token, options={"verify_signature": False}).get("iss")
            key = self._trusted.get(str(issuer))
            if key is None:
                raise Unidentified("the token's issuer is not a trusted service")
            jwt.decode(
                token,
                key,
                algorithms=[ALGORITHM],
                audience=self._audience,
                leeway=LEEWAY,
                options={"require": ["iss", "aud", "exp", "iat"]},
            )
        except jwt.InvalidTokenError as error:
            raise Unidentified(f"the identity token was refused: {type(error).__name__}") from None
        return str(issuer)
