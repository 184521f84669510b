"""The Graph client against servers that misbehave below HTTP: deadlines, names, certificates, and what errors tell."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import orjson
import pytest

from connector.graph.client import GraphClient
from connector.graph.protocol import (
    Answer,
    Credentials,
    GraphRequest,
    MemberOperation,
    NoAnswer,
    Refusal,
    Session,
    Success,
    read_me,
    users,
)
from connector.runtime.settings import GraphSettings
from embedded.ports import free_ports
from tests.records import digest

TOKEN, PROOF, PERSON = "canary-token-of-a-customer", "canary-proof", digest("canary@example.com")
CREDENTIALS = Credentials(TOKEN, PROOF)
CANARIES = (TOKEN, PROOF, PERSON, "canary@example.com")

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def adding(payload: bytes = b'{"schema":["EMAIL"],"data":[["%s"]]}' % PERSON.encode()) -> GraphRequest:
    """A call that adds a person."""
    return users("1", MemberOperation.ADD, (payload,), Session(1, 1, last=True, estimated_total=1), 1)


@asynccontextmanager
async def server(talk: Talk) -> AsyncIterator[str]:
    """A server whose every connection is *talk*; its address."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await talk(reader, writer)
        finally:
            writer.transport.abort()

    listening = await asyncio.start_server(connected, "127.0.0.1", 0)
    try:
        host, port = listening.sockets[0].getsockname()[:2]
        yield f"http://{host}:{port}"
    finally:
        listening.close()


async def called(url: str, request: GraphRequest | None = None, credentials: Credentials = CREDENTIALS) -> Answer:
    """What a call with short deadlines ends in."""
    settings = GraphSettings(url=url, connect_timeout=0.3, send_timeout=0.3, answer_timeout=0.3, total_timeout=0.9)
    async with GraphClient(settings) as graph:
        return await graph.send(request or adding(), credentials)


async def silence(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    """Reads everything and says nothing."""
    await reader.read(-1)


async def deafness(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Reads nothing."""
    writer.transport.pause_reading()  # type: ignore[attr-defined]  # a selector transport has it
    await asyncio.sleep(5)


async def trickle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers a byte at a time, each within the deadline between two pieces."""
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n")
    while True:
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(0.05)


def saying(status: int, headers: dict[str, str], body: bytes) -> Talk:
    """One answer to whatever comes."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        writer.write(f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n{head}\r\n".encode() + body)
        await writer.drain()
        await reader.read(-1)

    return talk


class TestDeadlines:
    @pytest.mark.parametrize(
        ("talk", "request_", "why"),
        [
            (silence, adding(), "SocketTimeoutError"),
            (silence, read_me(), "SocketTimeoutError"),
            (deafness, adding(b"0" * 30_000_000), "the request did not get out"),
            (trickle, adding(), "TimeoutError"),
        ],
        ids=["answer", "answer to a GET", "send", "total"],
    )
    async def test_each_ends_the_call(self, talk: Talk, request_: GraphRequest, why: str) -> None:
        """Nobody waits longer than a setting says, and which it was is told; the call may have had its effect."""
        async with server(talk) as url:
            answer = await called(url, request_)

        assert NoAnswer(f"time-out: {why}", sent=True) == answer

    @pytest.mark.parametrize(
        "url",
        [
            f"http://127.0.0.1:{free_ports(1)[0]}",
            "http://nobody.invalid",
        ],
    )
    async def test_nobody_there_means_nothing_was_sent(self, url: str) -> None:
        """Neither a closed port nor an unknown name saw the call."""
        answer = await called(url)

        assert isinstance(answer, NoAnswer)
        assert not answer.sent

    async def test_a_server_without_a_certificate_sees_nothing(self) -> None:
        """TLS comes before the token."""
        seen: list[bytes] = []

        async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            seen.append(await reader.read(4_096))
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            await writer.drain()

        async with server(plain) as url:
            answer = await called(url.replace("http://", "https://"))

        assert isinstance(answer, NoAnswer)
        assert not answer.sent
        assert TOKEN.encode() not in b"".join(seen)


class TestWhatIsTold:
    @pytest.mark.parametrize("token", ["canary\r\nX-Injected: 1", "canary\udc80", "canary\x00"])
    async def test_a_token_that_is_none_is_not_quoted(self, token: str) -> None:
        """What cannot stand in a header does not leave, and no exception carries it."""
        async with server(silence) as url:
            answer = await called(url, credentials=Credentials(token))

        assert isinstance(answer, NoAnswer)
        assert not answer.sent
        assert "canary" not in repr(answer)

    @pytest.mark.parametrize(
        "body",
        [
            {"error": {"code": 190, "message": f"bad {TOKEN} of canary@example.com, {PERSON}", "type": TOKEN}},
            {"error": {"code": 1, "error_user_title": f"{PROOF} and {PERSON}", "message": PROOF, "fbtrace_id": "t"}},
            {"error": {"message": TOKEN}},
            {"invalid_entry_samples": {f'["{PERSON}"]': "canary@example.com"}},
        ],
        ids=["message", "title", "no envelope", "samples"],
    )
    async def test_nothing_personal_and_no_token_is_shown(
        self, body: dict[str, object], caplog: pytest.LogCaptureFixture
    ) -> None:
        """Meta quotes what it was sent; neither an answer's text form nor a log line does."""
        caplog.set_level(logging.DEBUG)
        headers = {"Content-Type": "application/json", "X-Ad-Api-Version-Warning": f"upgrade, {TOKEN}"}
        request = adding()
        async with server(saying(400, headers, orjson.dumps(body))) as url:
            answer = await called(url, request)

        shown = f"{answer!r} {answer} {request!r} {CREDENTIALS!r} {caplog.text}"
        assert [] == [canary for canary in CANARIES if canary in shown]

    async def test_the_ids_that_metas_support_asks_for_are_kept(self) -> None:
        """All four of them, with a good answer and with a bad one."""
        ids = {"x-fb-request-id": "one", "x-fb-trace-id": "two", "x-fb-rev": "3", "x-fb-debug": "four"}
        for body, kind in ((b"{}", Success), (b'{"error":{"code":2}}', Refusal)):
            async with server(saying(200, {**ids, "Content-Type": "application/json"}, body)) as url:
                answer = await called(url)

            assert isinstance(answer, kind)
            meta = answer.meta
            assert ("one", "two", "3", "four") == (meta.request_id, meta.trace_id, meta.revision, meta.debug)

    async def test_a_long_usage_header_is_read(self) -> None:
        """32 entries are more than HTTP libraries take by default."""
        entry = {"type": "custom_audience", "call_count": 1, "filler": "x" * 500}
        usage = orjson.dumps({str(account): [entry] for account in range(32)}).decode()
        headers = {"Content-Type": "application/json", "X-Business-Use-Case-Usage": usage}
        async with server(saying(200, headers, b"{}")) as url:
            answer = await called(url)

        assert isinstance(answer, Success)
        assert 32 == len(answer.meta.usage.business)


class TestProxies:
    async def test_the_environment_names_none(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A proxy that a shell happens to name would see tokens."""
        proxy = f"http://127.0.0.1:{free_ports(1)[0]}"
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
            monkeypatch.setenv(name, proxy)
        async with server(saying(200, {"Content-Type": "application/json"}, b"{}")) as url:
            answer = await called(url)

        assert isinstance(answer, Success)
