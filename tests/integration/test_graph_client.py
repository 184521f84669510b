"""The Graph client over real sockets: what goes out, and what it makes of everything that may come back."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import orjson
import pytest
from aiohttp import web

from connector.graph.client import GraphClient
from connector.graph.protocol import (
    Answer,
    Credentials,
    Garbled,
    GraphRequest,
    MemberOperation,
    NoAnswer,
    Refusal,
    Session,
    Success,
    create_audience,
    debug_token,
    exchange_token,
    list_ad_accounts,
    list_audiences,
    read_ad_account,
    read_audience,
    read_me,
    users,
    users_reply,
)
from connector.graph.verdicts import RetryLater, Split, Throttled, ThrottleScope, Unknown, WaitForPerson, classify
from connector.runtime.settings import GraphSettings
from embedded.ports import free_ports
from tests.integration.auth_parts import Emulator
from tests.integration.uploader_parts import app_credentials, new_audience
from tests.records import digest

pytest_plugins = ("tests.integration.uploader_fixtures",)

TOKEN, PROOF = "the-token-of-a-customer", "the-proof"
PAYLOAD = b'{"schema":["EMAIL"],"data":[["%s"],["%s"]]}' % (
    digest("a@example.com").encode(),
    digest("b@example.com").encode(),
)


def adding(audience: str, session: int = 1) -> GraphRequest:
    """A call that adds two people."""
    return users(audience, MemberOperation.ADD, (PAYLOAD,), Session(session, 1, last=True, estimated_total=2), 2)


@dataclass
class Target:
    """An audience at the emulator, and a client that calls for it."""

    graph: GraphClient
    emulator: Emulator
    audience: str
    credentials: Credentials

    async def add(self) -> Answer:
        """Adds two people."""
        return await self.graph.send(adding(self.audience), self.credentials)

    async def add_against(self, **fault: object) -> Answer:
        """The same, while the emulator misbehaves."""
        self.emulator.fail(fault, audience=self.audience, path="/users")
        return await self.add()

    def members(self) -> int:
        """How many people are in the audience."""
        return int(self.emulator.tell("GET", f"/audiences/{self.audience}/count")["count"])


@pytest.fixture
async def target(graph_emulator: Emulator) -> AsyncIterator[Target]:
    """A new audience, and a client with a short patience."""
    settings = GraphSettings(url=graph_emulator.graph, connect_timeout=1, total_timeout=1)
    async with GraphClient(settings) as graph:
        account = graph_emulator.seed["ad_accounts"][0]
        audience = await new_audience(graph, graph_emulator, account)
        yield Target(graph, graph_emulator, audience, app_credentials(graph_emulator))


class TestGoodAnswers:
    @pytest.mark.parametrize("operation", [MemberOperation.ADD, MemberOperation.REMOVE])
    async def test_members_are_added_and_removed(self, target: Target, operation: MemberOperation) -> None:
        """A call with its payload in the body arrives, also as a DELETE, and its reply is readable."""
        await target.add()
        session = Session(9, 1, last=True, estimated_total=2)

        answer = await target.graph.send(users(target.audience, operation, (PAYLOAD,), session, 2), target.credentials)

        assert isinstance(answer, Success)
        reply = users_reply(answer.document)
        assert reply is not None
        assert (target.audience, "9", 2, 0) == (reply.audience_id, reply.session_id, reply.received, reply.invalid)
        assert (2 if operation is MemberOperation.ADD else 0) == target.members()

    async def test_every_read_is_answered(self, target: Target) -> None:
        """All requests that auth makes are understood by the other side."""
        account = target.emulator.seed["ad_accounts"][0]
        app_id, secret = str(target.emulator.seed["app_id"]), str(target.emulator.seed["app_secret"])
        token = target.credentials.token
        requests = [
            (read_me(), target.credentials),
            (read_audience(target.audience), target.credentials),
            (list_audiences(account), target.credentials),
            (read_ad_account(account), target.credentials),
            (list_ad_accounts(), target.credentials),
            (create_audience(account, "Another", "", "USER_PROVIDED_ONLY"), target.credentials),
            (debug_token(token), Credentials(f"{app_id}|{secret}")),
            (exchange_token(app_id, secret, token), Credentials(f"{app_id}|{secret}")),
        ]

        answers = [await target.graph.send(request, credentials) for request, credentials in requests]

        assert [Success] * len(requests) == [type(answer) for answer in answers]

    async def test_a_body_of_several_megabytes_goes_through(self, target: Target) -> None:
        """A full batch is larger than what aiohttp sends in one piece without a warning."""
        rows = [[digest(f"p{number}@example.com")] for number in range(10_000)]
        payload = orjson.dumps({"schema": ["EMAIL", "FN"], "data": [[*row, "f" * 64] for row in rows]})
        session = Session(3, 1, last=True, estimated_total=10_000)

        answer = await target.graph.send(
            users(target.audience, MemberOperation.ADD, (payload,), session, 10_000), target.credentials
        )

        assert isinstance(answer, Success)
        assert 10_000 == target.members()


class TestBadAnswers:
    async def test_html_is_garbled(self, target: Target) -> None:
        """A page of Meta's servers is trouble that passes."""
        answer = await target.add_against(status=503, body="<html>Sorry</html>", headers={"Content-Type": "text/html"})

        assert isinstance(answer, Garbled)
        assert isinstance(classify(answer), RetryLater)

    async def test_an_error_in_a_200_is_a_refusal(self, target: Target) -> None:
        """The body decides, not the status."""
        answer = await target.add_against(status=200, code=2, transient=True)

        assert isinstance(answer, Refusal)
        assert 0 == target.members()

    @pytest.mark.parametrize(
        ("fault", "verdict"),
        [
            ({"code": 190, "subcode": 463}, WaitForPerson),
            ({"code": 1, "subcode": 99}, Split),
            ({"code": 987654}, Unknown),
        ],
        ids=str,
    )
    async def test_refusals_get_their_verdict(self, target: Target, fault: dict[str, object], verdict: type) -> None:
        """Codes survive the way through HTTP."""
        answer = await target.add_against(**fault)

        assert isinstance(answer, Refusal)
        assert isinstance(classify(answer), verdict)

    async def test_a_throttle_brings_its_time(self, target: Target) -> None:
        """Retry-After of the answer becomes the pause."""
        answer = await target.add_against(code=80003, subcode=2446079, headers={"Retry-After": "90"})

        assert isinstance(answer, Refusal)
        assert Throttled(ThrottleScope.ACCOUNT, 90, stated=True) == classify(answer)

    @pytest.mark.parametrize(
        ("fault", "effect"),
        [({"reset": "before"}, 0), ({"reset": "after"}, 2), ({"truncate": 20}, 2), ({"hang": True}, 0)],
        ids=str,
    )
    async def test_no_complete_answer_is_no_answer(self, target: Target, fault: dict[str, object], effect: int) -> None:
        """Cut off or silent: it says that the call may have had its effect, and sometimes it has had it."""
        answer = await target.add_against(**fault)

        assert isinstance(answer, NoAnswer)
        assert answer.sent
        assert effect == target.members()

    async def test_an_endless_answer_ends_at_the_limit(self, target: Target) -> None:
        """Nobody fills our memory."""
        answer = await target.add_against(status=200, body="x" * (GraphSettings().max_answer + 1))

        assert isinstance(answer, NoAnswer)
        assert "larger" in answer.why

    async def test_nobody_there_means_nothing_was_sent(self) -> None:
        """A refused connection had no effect for certain."""
        settings = GraphSettings(url=f"http://127.0.0.1:{free_ports(1)[0]}", connect_timeout=1, total_timeout=2)
        async with GraphClient(settings) as graph:
            answer = await graph.send(adding("1"), Credentials(TOKEN, PROOF))

        assert isinstance(answer, NoAnswer)
        assert not answer.sent

    async def test_after_trouble_the_client_goes_on(self, target: Target) -> None:
        """A broken connection is not used again."""
        for fault in ({"reset": "after"}, {"truncate": 20}, {"reset": "before"}):
            await target.add_against(**fault)

        assert isinstance(await target.add(), Success)


@dataclass
class Recorder:
    """A server that notes what reaches it."""

    targets: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    in_flight: int = 0
    most_in_flight: int = 0
    answer: tuple[int, dict[str, str]] = (200, {})

    async def handle(self, request: web.Request) -> web.Response:
        """Answers everything with an empty object."""
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        self.targets.append(request.raw_path)
        self.headers.append(dict(request.headers))
        self.bodies.append(await request.read())
        await asyncio.sleep(0.02)
        self.in_flight -= 1
        status, headers = self.answer
        return web.json_response({}, status=status, headers=headers)


@asynccontextmanager
async def recorded(recorder: Recorder, connections: int = 10) -> AsyncIterator[GraphClient]:
    """A client that talks to *recorder*."""
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", recorder.handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        async with GraphClient(GraphSettings(url=f"http://{host}:{port}"), connections=connections) as graph:
            yield graph
    finally:
        await runner.cleanup()


class TestWhatGoesOut:
    @pytest.mark.parametrize(
        "request_",
        [
            adding("1"),
            users("1", MemberOperation.REMOVE, (PAYLOAD,), Session(1, 1, last=True, estimated_total=2), 2),
            read_audience("1"),
            debug_token("another-token"),
            exchange_token("1", "the-secret", "another-token"),
        ],
        ids=lambda request: request.operation,
    )
    async def test_no_token_and_no_member_stands_in_a_url(self, request_: GraphRequest) -> None:
        """URLs end up in logs of proxies; the token is in the header, everything else in the body."""
        recorder = Recorder()
        async with recorded(recorder) as graph:
            await graph.send(request_, Credentials(TOKEN, PROOF))

        (target,) = recorder.targets
        for secret in (TOKEN, "another-token", "the-secret", digest("a@example.com")):
            assert secret not in target
        assert f"Bearer {TOKEN}" == recorder.headers[0]["Authorization"]
        assert ("GET" == request_.method) == (f"appsecret_proof={PROOF}" in target)

    async def test_the_version_is_in_the_path(self) -> None:
        """Calls without a version fail for Marketing endpoints."""
        recorder = Recorder()
        async with recorded(recorder) as graph:
            await graph.send(adding("7"), Credentials(TOKEN, PROOF))

        assert ["/v26.0/7/users"] == recorder.targets

    async def test_the_length_of_a_body_is_said(self) -> None:
        """Nothing is known of how Meta takes bodies without a length, so there is one, though they go in blocks."""
        recorder = Recorder()
        async with recorded(recorder) as graph:
            await graph.send(adding("7"), Credentials(TOKEN, PROOF))

        assert str(len(recorder.bodies[0])) == recorder.headers[0]["Content-Length"]
        assert "Transfer-Encoding" not in recorder.headers[0]

    async def test_redirects_are_not_followed(self) -> None:
        """A token goes to nobody but the configured host."""
        recorder = Recorder(answer=(302, {"Location": "/elsewhere"}))
        async with recorded(recorder) as graph:
            answer = await graph.send(adding("7"), Credentials(TOKEN, PROOF))

        assert isinstance(answer, Garbled)
        assert 1 == len(recorder.targets)

    async def test_connections_are_bounded(self) -> None:
        """However many calls are made at once."""
        recorder = Recorder()
        async with recorded(recorder, connections=3) as graph:
            await asyncio.gather(*(graph.send(read_me(), Credentials(TOKEN)) for _ in range(12)))

        assert (12, 3) == (len(recorder.targets), recorder.most_in_flight)
