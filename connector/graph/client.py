"""The only module that talks to Meta. One verb: `send(request, credentials)` gives an answer, never an exception.

The token travels in the `Authorization` header and never in a URL: URLs end up in proxies' logs. The proof travels in
the body; a GET has none, so there it stands in the query, where it is worthless without the token.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from types import TracebackType
from typing import Self

import aiohttp

from connector.graph.protocol import Answer, Credentials, GraphRequest, NoAnswer, Pieces, RawAnswer, decipher
from connector.runtime.settings import GraphSettings

WRITE_BYTES = 256 * 1024
MAX_HEADER = 64 * 1024
"""Bytes of a header of an answer: the usage header may hold 32 entries, more than aiohttp takes by default."""

USER_AGENT = "facebook-connector"


class GraphClient:
    """Use as `async with GraphClient(settings) as graph`; safe for many calls at once, bounded by *connections*."""

    def __init__(self, settings: GraphSettings, *, connections: int = 100) -> None:
        self._settings = settings
        self._connections = connections
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        timeout = aiohttp.ClientTimeout(
            total=self._settings.total_timeout,
            sock_connect=self._settings.connect_timeout,
            sock_read=self._settings.answer_timeout,
        )
        self._session = aiohttp.ClientSession(
            timeout=timeout,
            connector=aiohttp.TCPConnector(limit=self._connections, ttl_dns_cache=60),
            headers={"User-Agent": USER_AGENT, "Accept": "application/json"},
            cookie_jar=aiohttp.DummyCookieJar(),
            max_field_size=MAX_HEADER,
            trust_env=False,  # a proxy that somebody's environment names would see tokens
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(5):
                    await self._session.close()
            self._session = None

    async def send(self, request: GraphRequest, credentials: Credentials) -> Answer:
        """Makes the call within the configured deadlines.

        `NoAnswer.sent` is False only when nothing left for certain: then the call had no effect. Of errors only the
        type is told: their texts quote addresses, headers, and once they quoted a token.
        """
        if self._session is None:
            raise RuntimeError("the Graph client is used outside its `async with` block")
        sending = asyncio.timeout(None)
        try:
            async with sending:
                raw = await self._exchange(self._session, request, credentials, sending)
            return decipher(raw, credentials)
        except aiohttp.ClientConnectorError as error:
            return NoAnswer(f"no connection: {type(error).__name__}", sent=False)
        except aiohttp.ConnectionTimeoutError as error:
            return NoAnswer(f"time-out: {type(error).__name__}", sent=False)
        except TimeoutError as error:
            what = "the request did not get out" if sending.expired() else type(error).__name__
            return NoAnswer(f"time-out: {what}", sent=True)
        except (aiohttp.ClientError, OSError) as error:
            return NoAnswer(f"cut off: {type(error).__name__}", sent=True)
        except _OversizedAnswer:
            return NoAnswer(f"the answer is larger than {self._settings.max_answer} bytes", sent=True)
        except (ValueError, TypeError) as error:
            return NoAnswer(f"cannot be sent: {type(error).__name__}", sent=False)

    async def _exchange(
        self,
        session: aiohttp.ClientSession,
        request: GraphRequest,
        credentials: Credentials,
        sending: asyncio.Timeout,
    ) -> RawAnswer:
        if not (credentials.token.isascii() and credentials.token.isprintable()):
            raise ValueError  # without a word: whatever it is, it was meant to be a token
        headers = {"Authorization": f"Bearer {credentials.token}"}
        params = dict(request.params)
        body = request.body(credentials)
        if body is not None:
            headers["Content-Type"] = "application/json"
            headers["Content-Length"] = str(sum(map(len, body)))
        elif credentials.proof is not None:
            params["appsecret_proof"] = credentials.proof
        data = self._written(body, sending, request.sent)
        del body  # whoever writes it lets go of it, see `Once`
        url = f"{self._settings.url.rstrip('/')}/{self._settings.version}{request.path}"
        async with session.request(
            request.method, url, params=params, data=data, headers=headers, allow_redirects=False
        ) as answer:
            received = {name.lower(): value for name, value in answer.headers.items()}
            return RawAnswer(answer.status, received, await _all(answer, self._settings.max_answer))

    def _written(
        self, body: Pieces | None, sending: asyncio.Timeout, sent: Callable[[], None]
    ) -> AsyncIterator[memoryview] | None:
        """The body in blocks, without a copy: aiohttp writes 10 MB of plain bytes in one go, and everybody waits.

        What was written is let go of. The deadline for sending runs from the first block to the last.
        """

        async def blocks(pieces: deque[bytes]) -> AsyncIterator[memoryview]:
            sending.reschedule(asyncio.get_running_loop().time() + self._settings.send_timeout)
            while pieces:
                piece = memoryview(pieces.popleft())
                for start in range(0, len(piece), WRITE_BYTES):
                    yield piece[start : start + WRITE_BYTES]
            sending.reschedule(None)
            sent()

        return None if body is None else blocks(deque(body))


class _OversizedAnswer(Exception):
    """Raised when an answer does not stop at its limit."""


async def _all(answer: aiohttp.ClientResponse, limit: int) -> bytes:
    """The body, read in pieces so that a hostile one ends at the limit and not in memory."""
    pieces: list[bytes] = []
    size = 0
    async for piece in answer.content.iter_chunked(64 * 1024):
        size += len(piece)
        if size > limit:
            raise _OversizedAnswer
        pieces.append(piece)
    return b"".join(pieces)
