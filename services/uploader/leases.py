"""Leases: a customer's token for one destination, from auth, kept until shortly before it ends.

The token is never in a repr, a log or an error. One question per destination at a time: a burst of chunks for one
account asks once.
"""

import asyncio
import re
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import aiohttp
import orjson

from connector.graph.protocol import Credentials
from connector.runtime.identity import ServiceSigner
from connector.telemetry import Telemetry
from schemas.events import ChunkReady
from services.uploader.endings import Again, Lost, NeedsPerson
from services.uploader.facts import LeaseTaken

MARGIN = 30.0
"""Seconds before its end at which a kept lease is no longer handed out: the call that is made with it takes a while."""

MAX_LEASES = 10_000
MAX_ANSWER = 64 * 1024

REFUSED_FOR_GOOD = frozenset({400, 403, 404, 422})
OURS_TO_MEND = frozenset({"caller_refused", "unidentified"})
"""Codes that say something about our deployment and nothing about the chunk: it is tried again."""

ACCOUNT_CODES = frozenset({"terms_missing", "business_missing", "ad_account_differs"})

_SLUG = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")

Destination = tuple[str, int, str, str]
NoLease = NeedsPerson | Lost | Again


@dataclass(frozen=True)
class Lease:
    """Credentials and the monotonic time until which they may be handed out."""

    credentials: Credentials
    usable_until: float


@dataclass
class _Queue:
    """Those who want a lease for the same destination."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    length: int = 0


class Leases:
    """auth's lease desk, seen from here.

    Args:
        session: With the time-outs for a question to auth.
        url: Base URL of auth.
        clock: Monotonic seconds.
        now: The time of day, to know how long a lease has to live.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        url: str,
        signer: ServiceSigner,
        telemetry: Telemetry,
        *,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._session = session
        self._url = f"{url.rstrip('/')}/internal/v1/leases"
        self._signer = signer
        self._telemetry = telemetry
        self._clock = clock
        self._now = now
        self._kept: OrderedDict[Destination, Lease] = OrderedDict()
        self._queues: dict[Destination, _Queue] = {}

    def __repr__(self) -> str:  # type: ignore[explicit-override]  # typing.override needs Python 3.12
        return f"<Leases kept={len(self._kept)} asking={len(self._queues)}>"

    async def take(self, chunk: ChunkReady) -> Credentials | NoLease:
        """Credentials for the chunk's destination, or how the attempt ends without them."""
        destination = _destination(chunk)
        async with self._turn(destination):
            lease = self._kept.get(destination)
            if lease is not None and self._clock() < lease.usable_until:
                return lease.credentials
            answer = await self._ask(chunk)
            if not isinstance(answer, Lease):
                return answer
            self._keep(destination, answer)
            self._telemetry.emit(LeaseTaken(chunk.chunk_id, chunk.ad_account_id))
            return answer.credentials

    def forget(self, profile_id: UUID) -> None:
        """Drops the leases of a profile: Meta refused its token, or auth says that something about it changed."""
        for destination in [kept for kept in self._kept if kept[0] == str(profile_id)]:
            del self._kept[destination]

    @asynccontextmanager
    async def _turn(self, destination: Destination) -> AsyncIterator[None]:
        queue = self._queues.setdefault(destination, _Queue())
        queue.length += 1
        try:
            async with queue.lock:
                yield
        finally:
            queue.length -= 1
            if not queue.length:
                del self._queues[destination]

    def _keep(self, destination: Destination, lease: Lease) -> None:
        self._kept[destination] = lease
        self._kept.move_to_end(destination)
        while len(self._kept) > MAX_LEASES:
            self._kept.popitem(last=False)

    async def _ask(self, chunk: ChunkReady) -> Lease | NoLease:
        wanted = {
            "profile_id": str(chunk.profile_id),
            "company_id": chunk.company_id,
            "ad_account_id": chunk.ad_account_id,
            "audience_id": chunk.audience_id,
            "chunk_id": chunk.chunk_id,
        }
        try:
            async with self._session.post(self._url, json=wanted, headers=self._signer.headers("auth")) as answer:
                document = orjson.loads(await _body(answer))
                return self._read(answer.status, answer.headers, document, chunk)
        except (aiohttp.ClientError, TimeoutError, ValueError, OSError) as error:
            return Again("auth_unavailable", "no_lease", f"auth gave no lease: {type(error).__name__}")

    def _read(self, status: int, headers: Mapping[str, str], document: Any, chunk: ChunkReady) -> Lease | NoLease:
        if not isinstance(document, dict):
            return Again("auth_unavailable", f"http_{status}", f"auth answered {status} with something else")
        if status == 200:
            return self._lease(document)
        code, message, advice = _error(document, status)
        if status == 409:
            return NeedsPerson(code, waiting_scope(code, chunk), advice)
        if status in REFUSED_FOR_GOOD and code not in OURS_TO_MEND:
            return Lost(code, code, message or f"auth refused the lease ({status})", kind="refused")
        asked = headers.get("Retry-After", "")
        not_before = float(asked[:9]) if asked.isascii() and asked.isdigit() else 0.0
        return Again("auth_unavailable", code, f"auth answered {status}: {message}", not_before=not_before)

    def _lease(self, document: dict[str, Any]) -> Lease | Again:
        token, proof, expires_at = (document.get(name) for name in ("token", "appsecret_proof", "expires_at"))
        if not (isinstance(token, str) and isinstance(proof, str) and isinstance(expires_at, str)):
            return Again("auth_unavailable", "lease", "auth answered 200 without a lease")
        remaining = (datetime.fromisoformat(expires_at) - self._now()).total_seconds()
        return Lease(Credentials(token, proof), self._clock() + remaining - MARGIN)


def waiting_scope(code: str, chunk: ChunkReady) -> str:
    """What waits, from auth's code: some things are the ad account's, everything else the profile's token."""
    return f"account:{chunk.ad_account_id}" if code in ACCOUNT_CODES else f"token:{chunk.profile_id}"


def _destination(chunk: ChunkReady) -> Destination:
    return (str(chunk.profile_id), chunk.company_id, chunk.ad_account_id, chunk.audience_id)


def _error(document: dict[str, Any], status: int) -> tuple[str, str, str]:
    """Code, message and advice of auth's error body, fit for an event."""
    error = document.get("error")
    error = error if isinstance(error, dict) else {}
    code = str(error.get("code"))
    slug = code if _SLUG.fullmatch(code) and code != "None" else f"http_{status}"
    return slug, str(error.get("message", ""))[:300], str(error.get("advice", ""))[:512]


async def _body(answer: aiohttp.ClientResponse) -> bytes:
    """The body, bounded.

    Raises:
        ValueError: It is larger than a lease ever is.
    """
    body = bytearray()
    async for piece in answer.content.iter_chunked(16 * 1024):
        body += piece
        if len(body) > MAX_ANSWER:
            raise ValueError(f"auth's answer is larger than {MAX_ANSWER} bytes")
    return bytes(body)
