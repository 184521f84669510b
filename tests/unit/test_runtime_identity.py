"""Service identity: only a fresh token of a trusted service for this very service opens anything."""

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from connector.runtime.identity import LEEWAY, LIFETIME, ServiceSigner, ServiceVerifier, Unidentified

KEY = Ed25519PrivateKey.generate()
OTHER = Ed25519PrivateKey.generate()


def public(key: Ed25519PrivateKey) -> str:
    """The PEM of *key*'s public half."""
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


@pytest.fixture
def verifier() -> ServiceVerifier:
    """What auth trusts: the uploader's key."""
    return ServiceVerifier("auth", {"uploader": public(KEY)})


class TestIdentity:
    def test_a_trusted_service_is_recognised(self, verifier: ServiceVerifier) -> None:
        """The caller's name comes from its signature."""
        assert "uploader" == verifier.caller(ServiceSigner("uploader", KEY).headers("auth")["Authorization"])

    @pytest.mark.parametrize("header", [None, "", "Basic abc", "Bearer", "Bearer x.y.z", "Bearer ê"])
    def test_rubbish_is_refused(self, verifier: ServiceVerifier, header: str | None) -> None:
        """Anything that is not a token is refused."""
        with pytest.raises(Unidentified):
            verifier.caller(header)

    def test_another_audience_is_refused(self, verifier: ServiceVerifier) -> None:
        """A token made for ingest does not open auth."""
        with pytest.raises(Unidentified, match="InvalidAudience"):
            verifier.caller(ServiceSigner("uploader", KEY).headers("ingest")["Authorization"])

    def test_another_key_is_refused(self, verifier: ServiceVerifier) -> None:
        """A name without its key proves nothing."""
        with pytest.raises(Unidentified, match="InvalidSignature"):
            verifier.caller(ServiceSigner("uploader", OTHER).headers("auth")["Authorization"])

    def test_an_unknown_service_is_refused(self, verifier: ServiceVerifier) -> None:
        """Only listed services are trusted."""
        with pytest.raises(Unidentified, match="not a trusted service"):
            verifier.caller(ServiceSigner("intruder", KEY).headers("auth")["Authorization"])

    def test_an_old_token_is_refused(self, verifier: ServiceVerifier) -> None:
        """A token found in a proxy's log an hour later opens nothing."""
        signer = ServiceSigner("uploader", KEY, clock=lambda: 1_000_000.0 - LIFETIME - LEEWAY)

        with pytest.raises(Unidentified, match="Expired"):
            verifier.caller(signer.headers("auth")["Authorization"])

    def test_an_unsigned_token_is_refused(self, verifier: ServiceVerifier) -> None:
        """`alg: none` is not a signature."""
        token = jwt.encode({"iss": "uploader", "aud": "auth", "iat": 1, "exp": 2**40}, "", algorithm="none")

        with pytest.raises(Unidentified):
            verifier.caller(f"Bearer {token}")
