"""The vault: secrets sealed for one company, one profile, one field, and opened only for them.

Envelope encryption. Each write makes a new data key, so no nonce is ever used twice under one key; the data key is
wrapped by a key-encryption key (`keys.py`). A row is `fmt | kek_ref | wrapped_dek | nonce | ciphertext`. Moving a row
to another owner fails twice: the wrapped key's context differs, and so does the authenticated data of AES-256-GCM.
"""

import asyncio
import secrets
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from services.auth.framing import framed
from services.auth.keys import NONCE_BYTES, KeyProvider, KeyRefused

FORMAT = 1
PURPOSE = "oauth-token"


class CannotOpen(Exception):
    """Raised when a sealed secret does not open for its owner; the text names the owner, never a byte of it."""


@dataclass(frozen=True)
class Owner:
    """Whose secret it is: *field* tells several secrets of one profile apart."""

    company_id: int
    profile_id: UUID
    field: str = "access_token"

    def context(self) -> dict[str, str]:
        """As the encryption context of a key service."""
        return {"purpose": PURPOSE, "company_id": str(self.company_id), "profile_id": str(self.profile_id)}

    def authenticated(self, fmt: int) -> bytes:
        """As the authenticated data of the ciphertext."""
        return framed(PURPOSE, str(fmt), str(self.company_id), str(self.profile_id), self.field)


@dataclass(frozen=True)
class Sealed:
    """A sealed secret as it is stored."""

    fmt: int
    kek_ref: str
    wrapped_dek: bytes = field(repr=False)
    nonce: bytes = field(repr=False)
    ciphertext: bytes = field(repr=False)


class Vault:
    """Seals and opens secrets.

    Unwrapped data keys are kept for a while, so that a lease costs no call to a key service.

    Args:
        keys: Where data keys come from.
        clock: Seconds, monotonic.
        ttl: Seconds an unwrapped data key is kept at most.
        entries: Unwrapped data keys kept at most; the least recently used one goes first.
    """

    def __init__(
        self, keys: KeyProvider, *, clock: Callable[[], float], ttl: float = 300, entries: int = 1_000
    ) -> None:
        self._keys = keys
        self._cache = _DataKeys(clock, ttl, entries)
        self._unwrapping: dict[tuple[Owner, str, bytes], asyncio.Task[bytes]] = {}

    async def seal(self, secret: bytes, owner: Owner) -> Sealed:
        """*secret*, readable for *owner* only, under a data key of its own."""
        key = await self._keys.generate(owner.context())
        nonce = secrets.token_bytes(NONCE_BYTES)
        ciphertext = AESGCM(key.plain).encrypt(nonce, secret, owner.authenticated(FORMAT))
        return Sealed(FORMAT, key.kek_ref, key.wrapped, nonce, ciphertext)

    async def open(self, sealed: Sealed, owner: Owner) -> bytes:
        """The secret.

        Raises:
            CannotOpen: Altered, sealed for another owner, of an unknown format, or its key is not configured.
        """
        if sealed.fmt != FORMAT:
            raise CannotOpen(f"the {owner.field} of profile {owner.profile_id} has format {sealed.fmt}, not {FORMAT}")
        try:
            key = await self._data_key(sealed, owner)
            return AESGCM(key).decrypt(sealed.nonce, sealed.ciphertext, owner.authenticated(sealed.fmt))
        except KeyRefused as error:
            raise CannotOpen(f"the {owner.field} of profile {owner.profile_id} does not open: {error}") from None
        except (InvalidTag, ValueError):
            raise CannotOpen(
                f"the {owner.field} of profile {owner.profile_id} was altered or belongs to another profile"
            ) from None

    async def _data_key(self, sealed: Sealed, owner: Owner) -> bytes:
        """The unwrapped data key; concurrent callers share one call to the key provider, failures are not kept."""
        identity = (owner, sealed.kek_ref, sealed.wrapped_dek)
        cached = self._cache.get(identity)
        if cached is not None:
            return cached
        task = self._unwrapping.get(identity)
        if task is None:
            unwrap = self._keys.unwrap(sealed.kek_ref, sealed.wrapped_dek, owner.context())
            task = asyncio.create_task(unwrap)
            self._unwrapping[identity] = task
            task.add_done_callback(lambda _: self._unwrapping.pop(identity, None))
        # Shielded: one caller that goes away must not fail the others that wait for the same key.
        key = await asyncio.shield(task)
        self._cache.put(identity, key)
        return key


class _DataKeys:
    """Data keys by owner and wrapping, bounded in time and number."""

    def __init__(self, clock: Callable[[], float], ttl: float, entries: int) -> None:
        self._clock = clock
        self._ttl = ttl
        self._entries = entries
        self._keys: OrderedDict[tuple[Owner, str, bytes], tuple[float, bytes]] = OrderedDict()

    def get(self, identity: tuple[Owner, str, bytes]) -> bytes | None:
        found = self._keys.get(identity)
        if found is None:
            return None
        until, key = found
        if self._clock() >= until:
            del self._keys[identity]
            return None
        self._keys.move_to_end(identity)
        return key

    def put(self, identity: tuple[Owner, str, bytes], key: bytes) -> None:
        self._keys[identity] = (self._clock() + self._ttl, key)
        self._keys.move_to_end(identity)
        while len(self._keys) > self._entries:
            self._keys.popitem(last=False)
