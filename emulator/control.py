"""The control side: look inside, script faults, set limits, make tokens and accounts, reset.

Never behind the same port as the Graph side, so that no Graph client can reach it by accident.
"""

from collections.abc import Awaitable, Callable
from dataclasses import asdict
from itertools import islice

import orjson
from aiohttp import web

from emulator import manual
from emulator.audiences import KNOWN_FIELDS
from emulator.emulation import Emulation, Switches
from emulator.match_keys import KNOWN, read_schema
from emulator.members import NotKept
from emulator.people import read_rows
from emulator.protocol import Params
from emulator.refusals import Refusal
from emulator.shapes import Malformed, checked
from emulator.world import SCOPES, Audience, Token, digest_of

LARGEST_BODY = 256 * 1024 * 1024
MOST_MISSING = 100
LINES_A_WRITE = 5000

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class NotThere(LookupError):
    """Raised when a control request names something that does not exist."""


class ControlSide:
    """The aiohttp application of the control side."""

    def __init__(self, emulation: Emulation) -> None:
        self._emulation = emulation

    def application(self) -> web.Application:
        """The routes; `manual.py` explains each, and a test keeps both equal."""
        application = web.Application(client_max_size=LARGEST_BODY, middlewares=[_explained])
        application.router.add_routes(
            [
                web.get("/", self._manual),
                web.get("/seed", self._seed),
                web.get("/audiences", self._audiences),
                web.patch("/audiences/{id}", self._set_audience),
                web.get("/audiences/{id}/members", self._members),
                web.post("/audiences/{id}/contains", self._contains),
                web.get("/audiences/{id}/count", self._count),
                web.get("/calls", self._calls),
                web.post("/reset", self._reset),
                web.post("/faults", self._add_fault),
                web.get("/faults", self._faults),
                web.delete("/faults", self._delete_faults),
                web.get("/faults/{id}", self._fault),
                web.delete("/faults/{id}", self._delete_fault),
                web.get("/limits", self._limits),
                web.put("/limits", self._set_limits),
                web.get("/switches", self._switches),
                web.put("/switches", self._set_switches),
                web.post("/tokens", self._make_token),
                web.get("/tokens", self._tokens),
                web.delete("/tokens/{token}", self._kill_token),
                web.post("/accounts", self._make_account),
            ]
        )
        return application

    async def _manual(self, _: web.Request) -> web.Response:
        return _json(manual.explained(self._emulation.keep))

    async def _seed(self, _: web.Request) -> web.Response:
        world = self._emulation.world
        seed = world.seed
        return _json(
            {
                "app_id": world.app.app_id,
                "app_secret": world.app.secret,
                "token": seed.text,
                "user_id": seed.user_id,
                "ad_accounts": [f"act_{one.id}" for one in world.accounts.values() if seed.user_id in one.people],
            }
        )

    # Audiences and their members

    async def _audiences(self, _: web.Request) -> web.Response:
        return _json([_audience_shown(one) for one in self._emulation.world.audiences.values()])

    async def _set_audience(self, request: web.Request) -> web.Response:
        """Put an audience into a state: flagged (471), replace failed (415), too small (delivery 300)."""
        audience = self._named(request)
        names: dict[str, tuple[type, ...]] = {
            "operation_status": (int,),
            "delivery_status": (int,),
            "fields_violating_integrity_policy": (list,),
        }
        given = checked(await _body(request), names, "audience")
        audience.operation_status = int(str(given.get("operation_status", audience.operation_status)))
        if "delivery_status" in given:
            audience.delivery_status = int(str(given["delivery_status"]))
        violations = given.get("fields_violating_integrity_policy")
        if isinstance(violations, list):
            if not KNOWN_FIELDS.issuperset(map(str, violations)):
                raise Malformed("audience.fields_violating_integrity_policy: names a field no audience has")
            audience.violations = [str(one) for one in violations]
        return _json(_audience_shown(audience))

    async def _members(self, request: web.Request) -> web.StreamResponse:
        """JSON lines, written in slices: millions of members must not hold up the Graph side."""
        rows = self._named(request).members.rows()
        keys = [key for key in request.query.get("keys", "").split(",") if key]
        unknown = [key for key in keys if key not in KNOWN]
        if unknown:
            raise Malformed(f"keys: unknown match key {unknown[0]!r}")
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        await response.prepare(request)
        lines: list[bytes] = []
        for row in rows:
            shown = {key: row[key] for key in keys if key in row} if keys else row
            lines.append(orjson.dumps(shown, option=orjson.OPT_APPEND_NEWLINE))
            if len(lines) == LINES_A_WRITE:
                await response.write(b"".join(lines))
                lines.clear()
        await response.write(b"".join(lines))
        return response

    async def _contains(self, request: web.Request) -> web.Response:
        """Which of the given rows are members; an invalid row is none."""
        audience = self._named(request)
        value = await _body(request)
        if isinstance(value, dict) and "payload" in value:
            value = Params(value).structure("payload")
        params = Params(checked(value, dict.fromkeys(("schema", "data"), (str, list)), "contains"))
        batch = read_rows(read_schema(params.values.get("schema")), params.structure("data"))
        held = audience.members.holds(batch.people) if batch.people else []
        invalid = set(batch.invalid)
        valid = (index for index in range(batch.received) if index not in invalid)
        found = {index for index, inside in zip(valid, held, strict=True) if inside}
        missing = (index for index in range(batch.received) if index not in found)
        return _json({"members": len(found), "missing": list(islice(missing, MOST_MISSING))})

    async def _count(self, request: web.Request) -> web.Response:
        return _json({"count": len(self._named(request).members)})

    def _named(self, request: web.Request) -> Audience:
        audience = self._emulation.world.audience(request.match_info["id"])
        if audience is None:
            raise NotThere(f"there is no audience {request.match_info['id']}; GET /audiences lists them")
        return audience

    # Calls, reset

    async def _calls(self, request: web.Request) -> web.Response:
        since = request.query.get("since", "0")
        if not since.isdecimal():
            raise Malformed("since: must be a number")
        return _json(self._emulation.calls.since(int(since)))  # orjson writes dataclasses, asdict would take seconds

    async def _reset(self, _: web.Request) -> web.Response:
        self._emulation.reset()
        return _json({"reset": True})

    # Faults, limits, switches

    async def _add_fault(self, request: web.Request) -> web.Response:
        fault = self._emulation.faults.add(await _body(request))
        return _json(fault.shown(), status=201)

    async def _faults(self, _: web.Request) -> web.Response:
        return _json([fault.shown() for fault in self._emulation.faults.list()])

    async def _fault(self, request: web.Request) -> web.Response:
        fault = self._emulation.faults.get(_fault_id(request))
        if fault is None:
            raise NotThere(f"there is no fault {_fault_id(request)}")
        return _json(fault.shown())

    async def _delete_fault(self, request: web.Request) -> web.Response:
        if not self._emulation.faults.remove(_fault_id(request)):
            raise NotThere(f"there is no fault {_fault_id(request)}")
        return _json({"deleted": True})

    async def _delete_faults(self, _: web.Request) -> web.Response:
        return _json({"deleted": self._emulation.faults.remove()})

    async def _limits(self, _: web.Request) -> web.Response:
        return _json(asdict(self._emulation.limits))

    async def _set_limits(self, request: web.Request) -> web.Response:
        limits = self._emulation.limits.changed(await _body(request))
        self._emulation.limits = limits
        self._emulation.clock.scale = limits.time_scale
        return _json(asdict(limits))

    async def _switches(self, _: web.Request) -> web.Response:
        return _json(asdict(self._emulation.switches))

    async def _set_switches(self, request: web.Request) -> web.Response:
        names: dict[str, tuple[type, ...]] = dict.fromkeys(asdict(Switches()), (bool,))
        given = checked(await _body(request), names, "switches")
        for name, value in given.items():
            setattr(self._emulation.switches, name, value)
        return _json(asdict(self._emulation.switches))

    # Tokens and accounts

    async def _make_token(self, request: web.Request) -> web.Response:
        names: dict[str, tuple[type, ...]] = {
            "kind": (str,),
            "scopes": (list,),
            "expires_in": (int, float),
            "user_id": (str,),
        }
        given = checked(await _body(request), names, "token")
        kind = given.get("kind", "user")
        if kind not in {"user", "system_user"}:
            raise Malformed('token.kind: must be "user" or "system_user"')
        lifetime = float(str(given.get("expires_in", 0)))
        if lifetime < 0:
            raise Malformed("token.expires_in: must not be negative")
        world = self._emulation.world
        scopes = given.get("scopes", list(SCOPES))
        user = world.user(str(given.get("user_id", world.seed.user_id)))
        wanted = {str(one) for one in scopes} if isinstance(scopes, list) else set(SCOPES)
        token = world.issue(user.id, wanted, lifetime, kind=str(kind).upper())
        return _json({"token": token.text, **self._token_shown(token)}, status=201)

    async def _tokens(self, _: web.Request) -> web.Response:
        return _json([self._token_shown(token) for token in self._emulation.world.tokens.values()])

    async def _kill_token(self, request: web.Request) -> web.Response:
        """Kill a token: from now on it answers 190 with the given subcode (0: without one)."""
        given = checked(await _body(request), {"code": (int,), "subcode": (int,)}, "death")
        if given.get("code", 190) != 190:
            raise Malformed("death.code: a dead token answers 190; script a fault for anything else")
        tokens = self._emulation.world.tokens_named(request.match_info["token"])
        if not tokens:
            raise NotThere("there is no such token; GET /tokens lists their digests")
        for token in tokens:
            token.dead = int(str(given.get("subcode", 463)))
        return _json([self._token_shown(token) for token in tokens])

    def _token_shown(self, token: Token) -> dict[str, object]:
        death = token.death(self._emulation.clock.now())
        return {
            "digest": digest_of(token.text),
            "user_id": token.user_id,
            "kind": token.kind.lower(),
            "scopes": sorted(token.scopes),
            "expires_at": int(token.expires_at),
            "alive": death is None,
        }

    async def _make_account(self, request: web.Request) -> web.Response:
        """Open an ad account; it belongs to the seed's user unless `users` says otherwise."""
        names: dict[str, tuple[type, ...]] = {
            "id": (str,),
            "name": (str,),
            "terms": (bool,),
            "business": (bool,),
            "users": (list,),
        }
        given = checked(await _body(request), names, "account")
        world = self._emulation.world
        number = str(given["id"]).removeprefix("act_") if "id" in given else None
        if number is not None and (not number.isdecimal() or number in world.accounts):
            raise Malformed("account.id: must be a new number, with or without act_ in front")
        users = given.get("users", [world.seed.user_id])
        people = {world.user(str(one)).id for one in users} if isinstance(users, list) else set()
        account = world.open_account(
            str(given.get("name", "Example Ad Account")),
            people,
            account_id=number,
            terms=given.get("terms", True) is True,
            business=given.get("business", True) is True,
        )
        shown = {"id": f"act_{account.id}", "name": account.name, "terms": account.terms, "users": sorted(people)}
        return _json(shown, status=201)


@web.middleware
async def _explained(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every mistake of the operator is answered with what to do instead."""
    try:
        return await handler(request)
    except (Malformed, Refusal) as error:
        return _json({"error": str(error)}, status=400)
    except NotThere as error:
        return _json({"error": str(error)}, status=404)
    except NotKept as error:
        return _json({"error": str(error)}, status=409)
    except web.HTTPNotFound:
        return _json({"error": "no such endpoint; GET / explains all"}, status=404)


async def _body(request: web.Request) -> object:
    raw = await request.read()
    if not raw:
        return {}
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise Malformed("the body is not JSON") from error


def _fault_id(request: web.Request) -> int:
    text = request.match_info["id"]
    if not text.isdecimal():
        raise NotThere(f"there is no fault {text!r}; ids are numbers")
    return int(text)


def _audience_shown(audience: Audience) -> dict[str, object]:
    return {
        "id": audience.id,
        "name": audience.name,
        "account": f"act_{audience.account}",
        "subtype": audience.subtype,
        "description": audience.told.get("description", ""),
        "customer_file_source": audience.told.get("customer_file_source"),
        "is_value_based": audience.value_based,
        "retention_days": audience.told.get("retention_days", 0),
        "operation_status": audience.operation_status,
        "count": len(audience.members),
    }


def _json(value: object, status: int = 200) -> web.Response:
    return web.Response(status=status, body=orjson.dumps(value), content_type="application/json")
