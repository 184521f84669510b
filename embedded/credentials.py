"""The secrets of one local stack: made once at random, kept in `<state>/secrets` (0700, files 0600).

Service identities (Ed25519), the vault's key file, and the passwords of the database roles. Local keys only: a
production stage refuses them.
"""

import base64
import json
import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

IDENTITIES = ("ingest", "uploader", "progress", "auth", "cli")
ROLES = ("fbc_ingest", "fbc_auth")
VAULT_KEY_BYTES = 32


@dataclass(frozen=True, slots=True)
class Credentials:
    """Where the secrets are, and the role passwords.

    Attributes:
        folder: `<state>/secrets`.
        passwords: Database role to its password.
    """

    folder: Path
    passwords: dict[str, str]

    @property
    def vault_keys(self) -> Path:
        """JSON `{"keys": [{"id", "key": base64 of 32 bytes}]}`, the first key is the primary one."""
        return self.folder / "vault-keys.json"

    @property
    def trusted(self) -> Path:
        """JSON object: service name to its public key in PEM."""
        return self.folder / "identity" / "trusted.json"

    def identity(self, service: str) -> Path:
        """A service's Ed25519 private key, PKCS 8 PEM."""
        return self.folder / "identity" / f"{service}.pem"


def ensure_credentials(folder: Path) -> Credentials:
    """Make whatever is missing in `folder`; what exists is never replaced: data are encrypted with it."""
    (folder / "identity").mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    passwords = _once(folder / "database.json", _new_passwords)
    made = Credentials(folder, json.loads(passwords))
    _once(made.vault_keys, _new_vault_keys)
    public = {name: _public_key(_once(made.identity(name), _new_identity)) for name in IDENTITIES}
    _write_private(made.trusted, json.dumps(public, indent=1))
    return made


def _new_passwords() -> str:
    return json.dumps({role: secrets.token_urlsafe(24) for role in ROLES})


def _new_vault_keys() -> str:
    key = base64.b64encode(secrets.token_bytes(VAULT_KEY_BYTES)).decode()
    return json.dumps({"keys": [{"id": "local-1", "key": key}]})


def _new_identity() -> str:
    key = Ed25519PrivateKey.generate()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def _public_key(pem: str) -> str:
    key = load_pem_private_key(pem.encode(), password=None)
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def _once(path: Path, make: Callable[[], str]) -> str:
    if not path.exists():
        _write_private(path, make())
    return path.read_text()


def _write_private(path: Path, text: str) -> None:
    """Write through a new file and a rename: no reader sees a half secret, none but the owner sees any."""
    new = path.with_name(f".{path.name}.new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    new.replace(path)
