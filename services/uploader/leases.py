"""Leases: a customer's token for one destination, from auth, kept until shortly before it ends.

The token is never in a repr, a log or an error. One request per destination at a time: a burst of chunks for one
account asks once.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import aiohttp

from connector.graph.protocol import Credentials
from connector.runtime.identity import ServiceSigner
from connector.telemetry import Telemetry
from schemas.events import ChunkReady
from services.uploader.endings import Again, Lost, NeedsPerson
from services.uploader.facts import LeaseTaken

MARGIN = 30.0
"""Seconds before its end at which a lease is no longer used: a call that starts now has to end within it."""

MAX_LEASES = 10_000

Destination = tuple[str, int, str, str]


@dataclass(frozen=True)
class Lease:
    """Credentials and the monotonic time until which they may be used."""

    credentials: Credentials
    usable_until: float


class Leases:
    """auth's lease desk, seen from here."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        url: str,
        signer: ServiceSigner,
        telemetry: Telemetry,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._session = session
        self._url = f"{url.rstrip('/')}/internal/v1/leases"
        self._signer = signer
        self._telemetry = telemetry
        self._clock = clock
        self._kept: OrderedDict[Destination, Lease] = OrderedDict()
        self._asking: dict[Destination, asyncio.Lock] = {}

    async def take(self, chunk: ChunkReady) -> Credentials | NeedsPerson | Lost | Again:
        """Credentials for the chunk's destination, or how the attempt ends without them."""
        destination = _destination(chunk)
        lock = self._asking.setdefault(destination, asyncio.Lock())
        try:
            async with lock:
                lease = self._kept.get(destination)
                if lease is not None and self._clock() < lease.usable_until:
                    return lease.credentials
                answer = await self._ask(chunk)
                if isinstance(answer, Lease):
                    self._keep(destination, answer)
                    self._telemetry.emit(LeaseTaken(chunk.chunk_id, chunk.ad_account_id))
                    return answer.credentials
                return answer
        finally:
            if not lock.locked():
                self._asking.pop(destination, None)

    def forget(self, chunk: ChunkReady) -> None:
        """Drops the lease for the chunk's destination: Meta refused its token."""
        self._kept.pop(_destination(chunk), None)

    def _keep(self, destination: Destination, lease: Lease) -> None:
        self._kept[destination] = lease
        self._kept.move_to_end(destination)
        while len(self._kept) > MAX_LEASES:
            self._kept.popitem(last=False)

    async def _ask(self, chunk: ChunkReady) -> Lease | NeedsPerson | Lost | Again:
        wanted = {
            "profile_id": str(chunk.profile_id),
            "company_id": chunk.company_id,
            "ad_account_id": chunk.ad_account_id,
            "audience_id": chunk.audience_id,
            "chunk_id": chunk.chunk_id,
        }
        try:
            async with self._session.post(self._url, json=wanted, headers=self._signer.headers("auth")) as answer:
                document = await answer.json(content_type=None)
                return self._read(answer.status, document, chunk)
        except (aiohttp.ClientError, TimeoutError, ValueError, OSError) as error:
            return Again("auth_unavailable", type(error).__name__, f"auth gave no lease: {type(error).__name__}")

    def _read(self, status: int, document: Any, chunk: ChunkReady) -> Lease | NeedsPerson | Lost | Again:
        if not isinstance(document, dict):
            return Again("auth_unavailable", str(status), f"auth answered {status} with something else than an object")
        if status == 200:
            return self._lease(document)
        error = document.get("error") or {}
        code, message = str(error.get("code", status))[:64], str(error.get("message", ""))[:300]
        if status == 409:
            return NeedsPerson(code, waiting_scope(code, chunk), str(error.get("advice", ""))[:512])
        if status in {400, 403, 404, 422}:
            return Lost(code, code, message or f"auth refused the lease ({status})", kind="refused")
        return Again("auth_unavailable", code, f"auth answered {status}")

    def _lease(self, document: dict[str, Any]) -> Lease | Again:
        try:
            expires = datetime.fromisoformat(document["expires_at"])
            credentials = Credentials(str(document["token"]), str(document["appsecret_proof"]))
        except (KeyError, TypeError, ValueError):
            return Again("auth_unavailable", "lease", "auth answered 200 without a lease")
        remaining = (expires - datetime.now(UTC)).total_seconds()
        return Lease(credentials, self._clock() + remaining - MARGIN)


def waiting_scope(code: str, chunk: ChunkReady) -> str:
    """What waits, from auth's code: the terms are the account's, everything else the profile's token."""
    return f"account:{chunk.ad_account_id}" if code == "terms_missing" else f"token:{chunk.profile_id}"


def _destination(chunk: ChunkReady) -> Destination:
    return (str(chunk.profile_id), chunk.company_id, chunk.ad_account_id, chunk.audience_id)
