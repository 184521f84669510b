"""Key-encryption keys: what wraps the data keys of the vault.

The protocol is shaped for a key service (asynchronous, with an encryption context that the service authenticates), so
that one can take the place of the local key file without the vault noticing.
"""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pydantic import Base64Bytes, BaseModel, ConfigDict, Field, ValidationError, field_validator

from connector.runtime.settings import Stage
from services.auth.framing import framed

KEY_BYTES = 32
NONCE_BYTES = 12


class KeyFileError(Exception):
    """Raised when the key file cannot be used; the text names the file and the fault, never a key."""


class KeyRefused(Exception):
    """Raised when a wrapped key cannot be unwrapped: unknown key, altered bytes, or another context."""


@dataclass(frozen=True)
class DataKey:
    """A fresh data key: in the clear for use now, and wrapped for keeping, with the name of what wrapped it."""

    plain: bytes = field(repr=False)
    kek_ref: str
    wrapped: bytes = field(repr=False)


class KeyProvider(Protocol):
    """Where data keys come from.

    *context* names what a key is for. A key wrapped for one context does not unwrap for another.
    """

    async def generate(self, context: Mapping[str, str]) -> DataKey:
        """A new random data key of 32 bytes, wrapped by the primary key."""

    async def unwrap(self, kek_ref: str, wrapped: bytes, context: Mapping[str, str]) -> bytes:
        """The data key in *wrapped*.

        Raises:
            KeyRefused: *kek_ref* is unknown, or *wrapped* was altered or made for another context.
        """


class _KeyEntry(BaseModel):
    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    id: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
    key: Annotated[Base64Bytes, Field(repr=False)]

    @field_validator("key")
    @classmethod
    def _is_long_enough(cls, value: bytes) -> bytes:
        """AES-256 needs 32 bytes."""
        if len(value) != KEY_BYTES:
            raise ValueError(f"a key has {KEY_BYTES} bytes, this one {len(value)}")
        return value


class _KeyFile(BaseModel):
    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    keys: Annotated[tuple[_KeyEntry, ...], Field(min_length=1)]

    @field_validator("keys")
    @classmethod
    def _names_each_once(cls, value: tuple[_KeyEntry, ...]) -> tuple[_KeyEntry, ...]:
        """Two keys of one name would make it chance which of them opens a row."""
        if len({entry.id for entry in value}) != len(value):
            raise ValueError("two keys have the same id")
        return value


class LocalKeyProvider:
    """Keys from a file, for laptops and tests: the first wraps, all of them unwrap (rotation by prepending)."""

    def __init__(self, keys: Mapping[str, bytes]) -> None:
        self._primary = next(iter(keys))
        self._keys = {name: AESGCM(key) for name, key in keys.items()}

    @classmethod
    def from_file(cls, path: Path, stage: Stage) -> "LocalKeyProvider":
        """Reads `{"keys":[{"id","key": base64 of 32 bytes}, …]}`.

        Raises:
            KeyFileError: The stage is `prod`, or the file is missing or malformed.
        """
        if stage is Stage.PROD:
            raise KeyFileError("a local key file does not protect tokens in production: use a key service")
        try:
            parsed = _KeyFile.model_validate_json(path.read_bytes())
        except OSError as error:
            raise KeyFileError(f"the vault's key file {path} cannot be read: {error.strerror}") from None
        except ValidationError as error:
            problems = "; ".join(
                f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}"
                for problem in error.errors(include_input=False, include_url=False, include_context=False)
            )
            raise KeyFileError(f"the vault's key file {path} is malformed: {problems}") from None
        return cls({entry.id: entry.key for entry in parsed.keys})

    async def generate(self, context: Mapping[str, str]) -> DataKey:
        """See `KeyProvider`."""
        plain, nonce = secrets.token_bytes(KEY_BYTES), secrets.token_bytes(NONCE_BYTES)
        wrapped = nonce + self._keys[self._primary].encrypt(nonce, plain, _authenticated(self._primary, context))
        return DataKey(plain, f"local:{self._primary}", wrapped)

    async def unwrap(self, kek_ref: str, wrapped: bytes, context: Mapping[str, str]) -> bytes:
        """See `KeyProvider`."""
        kind, _, name = kek_ref.partition(":")
        key = self._keys.get(name) if kind == "local" else None
        if key is None:
            raise KeyRefused(f"no key {kek_ref[:80]!r} is configured: add it to the key file, behind the primary one")
        try:
            return key.decrypt(wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:], _authenticated(name, context))
        except (InvalidTag, ValueError):
            raise KeyRefused(f"the data key wrapped by {kek_ref} was altered or belongs to another context") from None


def _authenticated(name: str, context: Mapping[str, str]) -> bytes:
    pairs = [part for pair in sorted(context.items()) for part in pair]
    return framed("data-key", name, *pairs)
