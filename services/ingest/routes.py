"""The delivery API: publish a delivery, look at one, at its files, at the last ones; let one go on that waits."""

import asyncio
from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import TypeVar

from aiohttp import web
from sqlalchemy.exc import DataError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from connector.kafka.events import MAX_VALUE, PoisonEvent, decode
from connector.kafka.headers import traceparent
from connector.kafka.producer import EventProducer, ProduceError
from connector.kafka.topics import DELIVERIES
from connector.runtime.web import ApiError, json_response
from schemas.events import DeliveryRequested, DeliveryState
from schemas.registry import DELIVERY_REQUESTED
from services.ingest import accounting, deliveries, files, rejects, views
from services.ingest.accept import CONFLICT_ADVICE, CONFLICT_CODE, Acceptor, conflict_message
from services.ingest.clock import Clock
from services.ingest.deliveries import Conflict, Delivery
from services.ingest.patience import TryLater
from services.ingest.publication import delivery_record
from services.ingest.releasing import Releaser

MAX_LISTED = 200
DEFAULT_LISTED = 50
MAX_BIGINT = 2**63 - 1

Member = TypeVar("Member", bound=StrEnum)


class DeliveryApi:
    """The routes over one ledger. *publish_timeout* is how many seconds a publisher waits for Kafka at most."""

    def __init__(
        self,
        *,
        engine: AsyncEngine,
        acceptor: Acceptor,
        producer: EventProducer,
        releaser: Releaser,
        clock: Clock,
        publish_timeout: float,
    ) -> None:
        self._engine = engine
        self._acceptor = acceptor
        self._producer = producer
        self._releaser = releaser
        self._clock = clock
        self._publish_timeout = publish_timeout

    def add_to(self, app: web.Application) -> None:
        """Adds the routes to *app*."""
        app.middlewares.append(ledger_errors)
        app.router.add_post("/v1/deliveries", self.publish)
        app.router.add_get("/v1/deliveries", self.listed)
        app.router.add_get(r"/v1/deliveries/{revision:\d{1,20}}", self.shown)
        app.router.add_get(r"/v1/deliveries/{revision:\d{1,20}}/files", self.files)
        app.router.add_post(r"/v1/deliveries/{revision:\d{1,20}}/release", self.release)

    async def release(self, request: web.Request) -> web.Response:
        """`POST /v1/deliveries/{revision}/release`: what of it waits for a person goes on; says how many chunks."""
        revision = _revision(request)
        async with self._engine.connect() as connection:
            delivery = await deliveries.find(connection, revision)
        if delivery is None:
            raise _unknown(revision)
        try:
            async with asyncio.timeout(self._publish_timeout):
                released = await self._releaser.release_delivery(revision)
        except (TryLater, TimeoutError):
            raise ApiError(
                503,
                "kafka_unavailable",
                f"delivery {revision} was released and not all of it could be written to Kafka in time",
                "release it again; nothing will happen twice",
            ) from None
        async with self._engine.connect() as connection:
            delivery = await deliveries.find(connection, revision) or delivery
        return json_response({**views.acceptance_view(delivery), "released": released}, status=202)

    async def publish(self, request: web.Request) -> web.Response:
        """`POST /v1/deliveries`: 202 once the delivery is in the ledger and on the topic."""
        event = await _event(request)
        trace = traceparent([("traceparent", request.headers.get("traceparent", "").encode())])
        acceptance = await self._acceptor.accept(event, via="api", traceparent=trace)
        if isinstance(acceptance, Conflict):
            raise ApiError(409, CONFLICT_CODE, conflict_message(acceptance.revision), CONFLICT_ADVICE)
        delivery = acceptance.delivery
        if delivery.state is DeliveryState.ACCEPTED:
            await self._to_topic(delivery)
        location = {"Location": views.link(delivery.revision)}
        return json_response(views.acceptance_view(delivery), status=202, headers=location)

    async def _to_topic(self, delivery: Delivery) -> None:
        """Writes the delivery to its topic. Until it is planned every repetition does so again, which is harmless."""
        record = delivery_record(delivery.event, now=self._clock(), traceparent=delivery.traceparent)
        try:
            async with asyncio.timeout(self._publish_timeout):
                await self._producer.publish(DELIVERIES, record)
        except (ProduceError, TimeoutError):
            raise ApiError(
                503,
                "kafka_unavailable",
                f"delivery {delivery.revision} could not be written to Kafka in time",
                "publish the same delivery again; nothing will happen twice",
            ) from None

    async def listed(self, request: web.Request) -> web.Response:
        """`GET /v1/deliveries`: newest first, filtered by `state` and `company_id`, paged by `after` and `limit`."""
        async with self._engine.connect() as connection:
            found = await deliveries.listed(
                connection,
                state=_choice(request, "state", DeliveryState),
                company_id=_number(request, "company_id", 0, MAX_BIGINT),
                after=_number(request, "after", 0, MAX_BIGINT),
                limit=_number(request, "limit", 1, MAX_LISTED) or DEFAULT_LISTED,
            )
            facts = await accounting.file_facts(connection, [delivery.revision for delivery in found])
        shown = [views.delivery_view(delivery, facts[delivery.revision]) for delivery in found]
        return json_response({"deliveries": shown})

    async def shown(self, request: web.Request) -> web.Response:
        """`GET /v1/deliveries/{revision}`."""
        revision = _revision(request)
        async with self._engine.connect() as connection:
            delivery = await deliveries.find(connection, revision)
            if delivery is None:
                raise _unknown(revision)
            facts = await accounting.file_facts(connection, [revision])
        return json_response(views.delivery_view(delivery, facts[revision]))

    async def files(self, request: web.Request) -> web.Response:
        """`GET /v1/deliveries/{revision}/files`."""
        revision = _revision(request)
        async with self._engine.connect() as connection:
            if await deliveries.find(connection, revision) is None:
                raise _unknown(revision)
            planned = await files.of_delivery(connection, revision)
            facts = (await accounting.file_facts(connection, [revision]))[revision]
            reasons = await accounting.reject_reasons(connection, revision)
            cells = await accounting.cell_rejects(connection, revision)
            samples = await rejects.of_delivery(connection, revision)
        shown = [
            views.file_view(
                file,
                facts[file.index],
                reasons.get(file.index, {}),
                cells.get(file.index, {}),
                samples.get(file.index, []),
            )
            for file in planned
        ]
        return json_response({"files": shown})


@web.middleware
async def ledger_errors(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Says in the API's words when the database refuses a value, or does not do its part."""
    try:
        return await handler(request)
    except DataError:
        raise ApiError(
            422, "unrecordable", "the delivery holds a NUL character or a number beyond 64 bits", "remove it"
        ) from None
    except SQLAlchemyError as error:
        raise ApiError(
            503, "ledger_unavailable", f"the ledger does not answer ({type(error).__name__})", "try again later"
        ) from error


async def _event(request: web.Request) -> DeliveryRequested:
    body = await request.read()
    if len(body) > MAX_VALUE:
        raise ApiError(
            413, "oversized", f"the delivery has {len(body)} bytes, at most {MAX_VALUE} are taken", "split its files"
        )
    try:
        return decode(DELIVERY_REQUESTED, DeliveryRequested, body, ())
    except PoisonEvent as error:
        raise ApiError(422, error.code, str(error), "see schemas/delivery-requested for what a delivery is") from None


def _revision(request: web.Request) -> int:
    revision = int(request.match_info["revision"])
    if revision > MAX_BIGINT:
        raise _unknown(revision)
    return revision


def _unknown(revision: int) -> ApiError:
    return ApiError(404, "unknown_delivery", f"no delivery has the revision {revision}", "look at GET /v1/deliveries")


def _number(request: web.Request, name: str, least: int, most: int) -> int | None:
    text = request.query.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(MAX_BIGINT)) and least <= int(text) <= most):
        raise ApiError(422, "invalid_query", f"{name} is not a number from {least} to {most}", f"correct {name}")
    return int(text)


def _choice(request: web.Request, name: str, kind: type[Member]) -> Member | None:
    text = request.query.get(name)
    if text is None:
        return None
    try:
        return kind(text)
    except ValueError:
        raise ApiError(422, "invalid_query", f"{name} is not one of {', '.join(kind)}", f"correct {name}") from None
