"""HTTP serving shared by the processes: a bounded server, health, metrics, and errors as one JSON shape."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import orjson
import structlog
from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest
from pydantic import BaseModel

from connector.runtime.settings import HttpSettings

log = structlog.get_logger()

MAX_BODY = 4 * 1024 * 1024
CHECK_TIMEOUT = 5.0
JSON_TYPE = "application/json"


class ApiError(Exception):
    """Raised by a route to answer with *status* and a body `{"error":{"code","message","advice"}}`."""

    def __init__(self, status: int, code: str, message: str, advice: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.advice = advice


Check = Callable[[], Awaitable[bool]]


@dataclass
class Health:
    """Liveness says "my loops turn"; readiness says "I can do my work". Only readiness looks at other systems.

    A liveness that depended on Kafka would turn an outage of the broker into a restart storm.
    """

    live: dict[str, Check] = field(default_factory=dict)
    ready: dict[str, Check] = field(default_factory=dict)

    @staticmethod
    async def failing(checks: dict[str, Check]) -> list[str]:
        """The names of the checks that say no, raise, or do not answer in time."""
        failed = []
        for name, check in checks.items():
            try:
                async with asyncio.timeout(CHECK_TIMEOUT):
                    passed = await check()
            except Exception as error:  # noqa: BLE001 -- a check that breaks is a check that fails
                log.debug("health.check_broke", check=name, error=type(error).__name__)
                passed = False
            if not passed:
                failed.append(name)
        return failed


def json_response(body: object, *, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """An answer in JSON; pydantic models are written with their aliases, everything else by orjson."""
    data = body.model_dump(mode="json") if isinstance(body, BaseModel) else body
    return web.Response(body=orjson.dumps(data), status=status, content_type=JSON_TYPE, headers=headers)


def error_response(error: ApiError) -> web.Response:
    """The one shape every error answer has."""
    body = {"error": {"code": error.code, "message": error.message, "advice": error.advice}}
    return json_response(body, status=error.status)


@web.middleware
async def errors_as_json(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Turns every failure into the one shape; an unexpected one is logged and shows nothing of itself."""
    try:
        return await handler(request)
    except ApiError as error:
        return error_response(error)
    except web.HTTPException as error:
        return error_response(ApiError(error.status, error.reason.lower().replace(" ", "_"), error.reason))
    except Exception as error:
        log.exception(
            "http.failed",
            method=request.method,
            route=str(request.match_info.route.resource),
            error=type(error).__name__,
        )
        return error_response(ApiError(500, "internal", "the request failed; the log of this service says why"))


def application(health: Health, registry: CollectorRegistry) -> web.Application:
    """An aiohttp application with what every process serves: `/health/live`, `/health/ready`, `/metrics`."""

    async def answer(checks: dict[str, Check]) -> web.Response:
        failed = await Health.failing(checks)
        return json_response({"ok": not failed, "failing": failed}, status=503 if failed else 200)

    async def live(_: web.Request) -> web.Response:
        return await answer(health.live)

    async def ready(_: web.Request) -> web.Response:
        return await answer(health.ready)

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(
            body=generate_latest(registry),
            headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"},
        )

    app = web.Application(middlewares=[errors_as_json], client_max_size=MAX_BODY)
    app.router.add_get("/health/live", live)
    app.router.add_get("/health/ready", ready)
    app.router.add_get("/metrics", metrics)
    return app


@asynccontextmanager
async def serving(app: web.Application, settings: HttpSettings) -> AsyncIterator[str]:
    """Serves *app* while the block runs; yields the base URL (of interest when the port is 0)."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=5.0, keepalive_timeout=30.0)
    await runner.setup()
    try:
        site = web.TCPSite(runner, settings.host, settings.port)
        await site.start()
        host, port = runner.addresses[0][:2]
        url = f"http://{host}:{port}"
        log.info("http.listening", url=url)
        yield url
    finally:
        await runner.cleanup()
