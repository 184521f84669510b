"""From a call to a reply: the spine of the Graph side. No sockets, no waiting; `serving.py` does those.

`Graph.reply` is the story: what does the call name, is it scripted to fail, may the caller, is the account within its
budget, what do the routes say, which headers go with it.
"""

import hmac
import logging
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain

import orjson

from emulator import accounts, audiences, batch, members_edge, oauth, other_edges
from emulator.calls import CallRecord
from emulator.emulation import APP_WINDOW, Answer, Caller, Emulation, Node, Route, RouteKey, Served
from emulator.faults import Fault, Script
from emulator.limits import LARGEST_BUDGET, Meter, Usage, usage_headers, usage_of
from emulator.protocol import Call, check_version, served_version
from emulator.refusals import THROTTLE_CODES, Refusal, account_throttled, dead_token, missing_scope, unknown_object
from emulator.world import digest_of

ROUTES: Mapping[RouteKey, Route] = dict(
    chain.from_iterable(module.ROUTES.items() for module in (accounts, audiences, members_edge, oauth, other_edges))
)
PROOF_SECONDS = 300
"""How long a time-bound `appsecret_proof` holds (Meta reference: securing requests)."""

REVISION = "1018000000"

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Reply:
    """What the client is to experience.

    Attributes:
        answer: `None` when none is ever sent.
        delay_s: Seconds before it is, from when the request arrived.
        truncate: Bytes of the body after which the connection closes; `None` for a whole answer.
        reset: Whether the connection is reset instead.
        hang: Whether the client is left waiting.
    """

    answer: Answer | None
    delay_s: float = 0.0
    truncate: int | None = None
    reset: bool = False
    hang: bool = False

    @property
    def complete(self) -> bool:
        """Whether the client gets the whole answer."""
        if self.answer is None or self.reset or self.hang:
            return False
        return self.truncate is None or self.truncate >= len(self.answer.body)


class Graph:
    """Serves calls on the state of one emulator."""

    def __init__(self, emulation: Emulation) -> None:
        self._emulation = emulation

    def reply(self, call: Call, *, batched: bool = False) -> Reply:
        """Serve one call: its effect is complete when this returns, whatever becomes of the answer."""
        emulation = self._emulation
        arrived = emulation.clock.wall()
        node, served = self._name(call)
        usage = self._meter(call)
        fault = emulation.faults.take(call)
        script = fault.script if fault else Script()
        delay = emulation.limits.delay(emulation.chance()) + script.delay_ms / 1000
        answer: Answer | None = None
        if script.replaces_processing:
            if not script.hang and script.reset is None:
                answer = self._scripted(call, node, served, script, usage)
        else:
            answer = self._served(call, node, served, usage, batched=batched)
            answer = _with_headers(answer, script.headers)
        reply = Reply(answer, delay, script.truncate, reset=script.reset is not None, hang=script.hang)
        self._record(call, reply, fault, arrived, batched=batched)
        return reply

    def refused(self, call: Call, refusal: Refusal) -> Reply:
        """The reply to a request whose parameters could not even be read."""
        answer = self._dress(call, _refusal_answer(refusal), Meter.PLATFORM, self._meter(call))
        reply = Reply(answer)
        self._record(call, reply, None, self._emulation.clock.wall(), batched=False)
        return reply

    # What the path names

    def _name(self, call: Call) -> tuple[Node | None, Served]:
        """The node of the path (`None`: there is none) and the call as routes take it; fills in the call's facts."""
        world = self._emulation.world
        first, rest = (call.segments[0], call.segments[1:]) if call.segments else ("", ())
        caller = Caller(world.tokens.get(call.token or ""))
        if first == "me" and caller.token is not None:
            first = caller.token.user_id
        node = self._node(first)
        if node is Node.ACCOUNT:
            call.facts.account = first.removeprefix("act_")
        elif node is Node.AUDIENCE:
            call.facts.audience, call.facts.account = first, world.audiences[first].account
        return node, Served(self._emulation, call, caller, first, rest)

    def _node(self, first: str) -> Node | None:
        world = self._emulation.world
        if not first:
            return Node.ROOT
        if first.startswith("act_"):
            return Node.ACCOUNT
        if first in world.audiences:
            return Node.AUDIENCE
        if first in world.users:
            return Node.USER
        if first == world.app.app_id:
            return Node.APP
        return None if first == "me" or first.isdecimal() else Node.APP_EDGE

    def _route(self, node: Node | None, served: Served) -> Route:
        """The route of the call.

        Raises:
            Refusal: Code 2500, 100/33 or 803, nothing is served there.
        """
        call = served.call
        if node is None:
            raise self._missing_node(served)
        edges = ["/".join(served.rest)]
        if node is Node.APP_EDGE:
            edges = ["/".join(call.segments)]
        elif len(served.rest) > 1:
            edges.append(f"{served.rest[0]}/*")
        for edge in edges:
            route = ROUTES.get((node, edge, call.method))
            if route is not None:
                return route
        known = any(key[:2] == (node, edge) for edge in edges for key in ROUTES)
        if node is Node.APP_EDGE and not known and len(call.segments) == 1:
            message = f"Some of the aliases you requested do not exist: {served.segment}"
            raise Refusal(803, message)
        if known or node is Node.ROOT:
            raise unknown_object(call.method, served.segment or "/")
        raise Refusal(2500, f"Unknown path components: /{edges[0]}")

    def _missing_node(self, served: Served) -> Refusal:
        if served.segment == "me" and served.call.token is None:
            return Refusal(2500, "An active access token must be used to query information about the current user.")
        if served.segment == "me":
            return dead_token(None, "Invalid OAuth access token - Cannot parse access token")
        return unknown_object(served.call.method, served.segment)

    # Who calls, and may they

    def _authorise(self, served: Served, route: Route) -> None:
        """Check the token, its proof and its permissions.

        Raises:
            Refusal: 104 no token, 190 a dead or unknown one, 100 a wrong proof, 200 a missing permission.
        """
        if not route.needs_token:
            return
        call, token = served.call, served.caller.token
        if call.token is None:
            raise Refusal(104, "An access token is required to request this resource.")
        by_app = call.token == served.world.app.token
        if token is None and not (by_app and route.app_token):
            raise dead_token(None, "Invalid OAuth access token - Cannot parse access token")
        if token is not None and (death := token.death(served.now)) is not None:
            raise death
        if route.checks_proof:
            self._check_proof(call, call.token)
        if token is not None and route.scopes and not route.scopes & token.scopes:
            raise missing_scope(min(route.scopes))

    def _check_proof(self, call: Call, token: str) -> None:
        emulation = self._emulation
        given = call.params.text("appsecret_proof")
        if given is None:
            if emulation.switches.proof_required:
                raise Refusal(100, "API calls from the server require an appsecret_proof argument")
            return
        message, stamp = token, call.params.integer("appsecret_time")
        if stamp is not None:
            if abs(emulation.clock.wall() - stamp) > PROOF_SECONDS:  # clients stamp with real time
                raise Refusal(100, "Expired appsecret_proof provided in the API argument", kind="GraphMethodException")
            message = f"{token}|{stamp}"
        if not hmac.compare_digest(given.encode(), emulation.world.app.proof(message).encode()):
            raise Refusal(100, "Invalid appsecret_proof provided in the API argument", kind="GraphMethodException")

    # Within the budget

    def _meter(self, call: Call) -> Usage:
        """Count the call against its ad account and the app; calls made while blocked count too."""
        emulation = self._emulation
        now, account = emulation.clock.now(), call.facts.account
        app = emulation.windows[APP_WINDOW]
        app.add(now)
        if account not in emulation.world.accounts:  # strangers must not grow the table of windows
            return Usage(None, 0, 0, 100 * app.count(now) // LARGEST_BUDGET)
        window = emulation.windows[account]
        window.add(now)
        audiences_here = sum(1 for _ in emulation.world.audiences_of(account))
        budget = emulation.limits.calls_an_hour(account, audiences_here)
        return usage_of(account, window, budget, now, scale=emulation.clock.scale, app_calls=app.count(now))

    # The answer

    def _served(self, call: Call, node: Node | None, served: Served, usage: Usage, *, batched: bool) -> Answer:
        meter = Meter.PLATFORM
        try:
            if node is Node.ROOT and call.method == "POST" and not batched:
                check_version(call, marketing=False)
                return self._dress(call, self._batch(call), meter, usage)
            route = self._route(node, served)
            meter = route.meter
            check_version(call, marketing=route.marketing)
            self._authorise(served, route)
            _within_budget(usage)
            answer = Answer(200, orjson.dumps(route.serve(served)))
        except Refusal as refusal:
            answer = _refusal_answer(refusal)
        except Exception:  # noqa: BLE001 - one defective route must not end the emulator; it is logged and answered
            _log.exception("a defect of the emulator, answered as code 1: %s %s", call.method, call.path)
            answer = _refusal_answer(Refusal(1))
        return self._dress(call, answer, meter, usage)

    def _batch(self, call: Call) -> Answer:
        replies = [self.reply(item, batched=True) for item in batch.calls_of(call)]
        return Answer(200, batch.answer_of(call, [None if one.reset else one.answer for one in replies]))

    def _scripted(self, call: Call, node: Node | None, served: Served, script: Script, usage: Usage) -> Answer:
        """The answer a script gives in place of processing, dressed as the real one would have been."""
        try:
            meter = self._route(node, served).meter
        except Refusal:
            meter = Meter.PLATFORM
        refusal = script.refusal()
        if refusal is not None and script.body is None:
            answer = _refusal_answer(refusal)
        elif isinstance(script.body, str) or script.body is None:
            answer = Answer(script.status or 200, (script.body or "").encode(), content_type="text/html; charset=utf-8")
        else:
            answer = Answer(script.status or 200, orjson.dumps(script.body))
        if refusal is not None and refusal.code in THROTTLE_CODES:
            usage = Usage(usage.account, 100, max(1, usage.regain_minutes), usage.app_percent)
        return _with_headers(self._dress(call, answer, meter, usage), script.headers)

    def _dress(self, call: Call, answer: Answer, meter: Meter, usage: Usage) -> Answer:
        """Add the headers every answer has (observed in recorded traffic)."""
        version, warning = served_version(call.version)
        request_id = _request_id(answer)
        failed = answer.code is not None
        headers = {
            "facebook-api-version": f"v{version}.0",
            "x-fb-request-id": request_id,
            "x-fb-trace-id": secrets.token_urlsafe(8),
            "x-fb-rev": REVISION,
            "x-fb-debug": secrets.token_urlsafe(24),
            "Cache-Control": "no-store" if failed else "private, no-cache, no-store, must-revalidate",
            "Pragma": "no-cache",
            "Expires": "Sat, 01 Jan 2000 00:00:00 GMT",
            **usage_headers(usage, meter, blocked=answer.code in THROTTLE_CODES),
            **({"X-Ad-Api-Version-Warning": warning} if warning else {}),
        }
        return _with_headers(answer, {**headers, **answer.headers})

    def _record(self, call: Call, reply: Reply, fault: Fault | None, arrived: float, *, batched: bool) -> None:
        log, facts, answer = self._emulation.calls, call.facts, reply.answer
        log.append(
            CallRecord(
                seq=log.next_seq(),
                time=arrived,
                method=call.method,
                path=call.path,
                account=facts.account and f"act_{facts.account}",
                audience=facts.audience,
                token=digest_of(call.token) if call.token else None,
                rows=facts.rows,
                invalid=facts.invalid,
                session=facts.session,
                status=answer.status if answer and reply.complete else None,
                code=answer.code if answer else None,
                subcode=answer.subcode if answer else None,
                fault=fault.id if fault else None,
                batched=batched,
            )
        )


def _within_budget(usage: Usage) -> None:
    """Refuse a call of an ad account whose hour is spent.

    Raises:
        Refusal: Code 80003/2446079.
    """
    if usage.regain_minutes:
        raise account_throttled()


def _refusal_answer(refusal: Refusal) -> Answer:
    """The error envelope; its `fbtrace_id` is also the request id, and 4xx answers repeat the message in a header."""
    request_id = secrets.token_urlsafe(12)
    headers = {"x-fb-request-id": request_id}
    if 400 <= refusal.status < 500:
        message = refusal.message.replace('"', "'").encode("ascii", "replace").decode()
        headers["WWW-Authenticate"] = f'OAuth "Facebook Platform" "invalid_request" "{message}"'
    body = orjson.dumps(refusal.envelope(request_id))
    return Answer(refusal.status, body, headers, code=refusal.code, subcode=refusal.subcode)


def _request_id(answer: Answer) -> str:
    return answer.headers.get("x-fb-request-id") or secrets.token_urlsafe(12)


def _with_headers(answer: Answer, headers: Mapping[str, str]) -> Answer:
    merged = {**answer.headers, **headers}
    return Answer(answer.status, answer.body, merged, answer.content_type, answer.code, answer.subcode)
