"""The internal API of auth. Every route wants to know which service asks, and serves only those with business there."""

import math
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any
from uuid import UUID

from aiohttp import web
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from connector.runtime.identity import ServiceVerifier, Unidentified
from connector.runtime.web import json_response
from connector.telemetry.facts import Telemetry
from services.auth.connecting import Connecting
from services.auth.destinations import Destinations
from services.auth.facts import CallerRefused
from services.auth.issue import LeaseDesk, LeaseRequest
from services.auth.profiles import Profiles, Wish
from services.auth.questions import AskLease, ConnectProfile, FindProfiles, ResolveDestination, read, read_query
from services.auth.refusals import Code, Refusal

CONNECTORS = frozenset({"cli", "console"})
READERS = frozenset({"cli", "console", "ingest"})
RESOLVERS = frozenset({"ingest"})
LESSEES = frozenset({"uploader"})

NO_STORE = {"Cache-Control": "no-store"}

STATUS = {
    Code.INVALID_REQUEST: HTTPStatus.UNPROCESSABLE_ENTITY,
    Code.UNIDENTIFIED: HTTPStatus.UNAUTHORIZED,
    Code.CALLER_REFUSED: HTTPStatus.FORBIDDEN,
    Code.UNKNOWN_PROFILE: HTTPStatus.NOT_FOUND,
    Code.WRONG_COMPANY: HTTPStatus.FORBIDDEN,
    Code.BINDING_REFUSED: HTTPStatus.FORBIDDEN,
    Code.TOKEN_DEAD: HTTPStatus.CONFLICT,
    Code.TOKEN_OF_OTHER_APP: HTTPStatus.CONFLICT,
    Code.PROFILE_DISABLED: HTTPStatus.CONFLICT,
    Code.TERMS_MISSING: HTTPStatus.CONFLICT,
    Code.PERMISSION_MISSING: HTTPStatus.CONFLICT,
    Code.BUSINESS_MISSING: HTTPStatus.CONFLICT,
    Code.AD_ACCOUNT_DIFFERS: HTTPStatus.CONFLICT,
    Code.AUDIENCE_NOT_FOUND: HTTPStatus.UNPROCESSABLE_ENTITY,
    Code.AUDIENCE_OF_OTHER_ACCOUNT: HTTPStatus.UNPROCESSABLE_ENTITY,
    Code.AUDIENCE_NOT_CUSTOM: HTTPStatus.UNPROCESSABLE_ENTITY,
    Code.AUDIENCE_NAME_REFUSED: HTTPStatus.UNPROCESSABLE_ENTITY,
    Code.GRAPH_UNAVAILABLE: HTTPStatus.SERVICE_UNAVAILABLE,
    Code.THROTTLED: HTTPStatus.SERVICE_UNAVAILABLE,
    Code.BUSY: HTTPStatus.SERVICE_UNAVAILABLE,
    Code.DATABASE_UNAVAILABLE: HTTPStatus.SERVICE_UNAVAILABLE,
}

Handler = Callable[[web.Request, str], Awaitable[web.Response]]


class Routes:
    """The routes and who may call them."""

    def __init__(
        self,
        *,
        verifier: ServiceVerifier,
        profiles: Profiles,
        connecting: Connecting,
        destinations: Destinations,
        leases: LeaseDesk,
        telemetry: Telemetry,
    ) -> None:
        self._verifier = verifier
        self._profiles = profiles
        self._connecting = connecting
        self._destinations = destinations
        self._leases = leases
        self._telemetry = telemetry

    def add_to(self, app: web.Application) -> None:
        """Adds the routes to *app*."""
        app.router.add_post("/internal/v1/profiles", self._for(CONNECTORS, self._connect))
        app.router.add_get("/internal/v1/profiles", self._for(READERS, self._find))
        app.router.add_get("/internal/v1/profiles/{id}", self._for(READERS, self._show))
        app.router.add_post("/internal/v1/destinations", self._for(RESOLVERS, self._resolve))
        app.router.add_post("/internal/v1/leases", self._for(LESSEES, self._lease))

    def _for(self, allowed: frozenset[str], handler: Handler) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def route(request: web.Request) -> web.Response:
            try:
                return await handler(request, self._caller(request, allowed))
            except Refusal as refusal:
                return refused(refusal)
            except (OperationalError, PoolTimeout):
                message = "the database does not answer"
                return refused(Refusal(Code.DATABASE_UNAVAILABLE, message, "ask again", retry_after=2))

        return route

    def _caller(self, request: web.Request, allowed: frozenset[str]) -> str:
        try:
            caller = self._verifier.caller(request.headers.get("Authorization"))
        except Unidentified as error:
            raise self._stranger(request, Refusal(Code.UNIDENTIFIED, str(error))) from None
        if caller not in allowed:
            raise self._stranger(request, Refusal(Code.CALLER_REFUSED, f"{caller} has no business with this route"))
        return caller

    def _stranger(self, request: web.Request, refusal: Refusal) -> Refusal:
        resource = request.match_info.route.resource
        route = resource.canonical if resource is not None else "unknown"
        self._telemetry.emit(CallerRefused(refusal.code.value, route, refusal.message))
        return refusal

    async def _connect(self, request: web.Request, caller: str) -> web.Response:
        asked = read(ConnectProfile, await request.read())
        wish = Wish(asked.company_id, asked.name, asked.description, asked.customer_file_source)
        profile, created = await self._connecting.connect(caller, wish, asked.ad_account_id, asked.token)
        status = HTTPStatus.CREATED if created else HTTPStatus.OK
        return json_response(
            profile.document(), status=status, headers={"Location": f"/internal/v1/profiles/{profile.id}"}
        )

    async def _find(self, request: web.Request, _: str) -> web.Response:
        asked = read_query(FindProfiles, dict(request.query))
        found = await self._profiles.find(company_id=asked.company_id, name=asked.name)
        return json_response({"records": [profile.document() for profile in found]})

    async def _show(self, request: web.Request, _: str) -> web.Response:
        return json_response((await self._profiles.get(_uuid(request.match_info["id"]))).document())

    async def _resolve(self, request: web.Request, _: str) -> web.Response:
        asked = read(ResolveDestination, await request.read())
        resolved = await self._destinations.resolve(
            asked.profile_id, asked.company_id, asked.origin, asked.audience_id, asked.audience_name
        )
        answer: dict[str, Any] = {
            "profile_id": asked.profile_id,
            "ad_account_id": resolved.ad_account_id,
            "audience_id": resolved.audience.id,
            "audience_name": resolved.audience.name,
            "value_based": resolved.audience.value_based,
            "created": resolved.created,
        }
        return json_response(answer)

    async def _lease(self, request: web.Request, caller: str) -> web.Response:
        asked = read(AskLease, await request.read())
        lease = await self._leases.issue(
            caller,
            LeaseRequest(asked.profile_id, asked.company_id, asked.ad_account_id, asked.audience_id, asked.chunk_id),
        )
        answer = {
            "lease_id": lease.id,
            "token": lease.token.get_secret_value(),
            "appsecret_proof": lease.proof.get_secret_value(),
            "expires_at": lease.expires_at,
        }
        return json_response(answer, headers=NO_STORE)


def refused(refusal: Refusal) -> web.Response:
    """The answer to a refused request, with `Retry-After` (whole seconds, rounded up) when the time is known."""
    body = {"error": {"code": refusal.code.value, "message": refusal.message, "advice": refusal.advice}}
    headers = {} if refusal.retry_after is None else {"Retry-After": str(max(1, math.ceil(refusal.retry_after)))}
    return json_response(body, status=STATUS[refusal.code], headers=headers)


def _uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise Refusal(Code.UNKNOWN_PROFILE, "a profile's id is a UUID", "correct the id") from None
