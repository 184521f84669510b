"""The Graph side on sockets: read a request, let `graph.py` serve it, and carry out what was scripted for it."""

import asyncio
import socket
import struct
import time

from aiohttp import web

from emulator import login
from emulator.emulation import Answer, Emulation
from emulator.graph import Graph, Reply
from emulator.protocol import body_params, build_call, query_params, split_path
from emulator.refusals import Refusal
from emulator.skim import skim

LARGEST_BODY = 32 * 1024 * 1024
LONGEST_LINE = 128 * 1024
READ_BUFFER = 1024 * 1024
"""Bytes read ahead; with aiohttp's 64 kB a member upload of several MB is paused and resumed over and over."""

LONGEST_HANG = 600.0
"""Seconds after which a scripted hang lets go of a client that never does."""


class GraphSide:
    """The aiohttp application of the Graph side."""

    def __init__(self, emulation: Emulation) -> None:
        self._emulation = emulation
        self._graph = Graph(emulation)

    def application(self) -> web.Application:
        """One handler for every path: SDKs send double and trailing slashes, which a router would redirect."""
        application = web.Application(client_max_size=LARGEST_BODY)
        application.router.add_route("*", "/{path:.*}", self._handle)
        return application

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        arrived = time.monotonic()
        _, segments = split_path(request.rel_url.raw_path)
        if segments == ("dialog", "oauth"):
            return await self._dialog(request)
        try:
            body = await request.read()
        except web.HTTPRequestEntityTooLarge:
            return await _drop_oversized(request)
        reply = self._reply(request, body)
        return await _play(request, reply, arrived)

    def _reply(self, request: web.Request, body: bytes) -> Reply:
        origin = f"{request.scheme}://{request.host}"
        path = request.rel_url.raw_path
        authorization = request.headers.get("Authorization", "")
        query: dict[str, object] = {}
        try:
            query = query_params(request.rel_url.raw_query_string)
            params = query | self._body(request, body)
        except (Refusal, ValueError) as error:
            refusal = error if isinstance(error, Refusal) else Refusal(100, "The query cannot be parsed")
            call = build_call(request.method, path, query, authorization=authorization, origin=origin)
            return self._graph.refused(call, refusal)
        call = build_call(request.method, path, params, authorization=authorization, origin=origin)
        return self._graph.reply(call)

    def _body(self, request: web.Request, body: bytes) -> dict[str, object]:
        content_type = request.headers.get("Content-Type", "")
        if self._emulation.keep == "counts" and content_type.startswith("application/json"):
            skimmed = skim(body)
            if skimmed is not None:
                return skimmed
        return body_params(content_type, body)

    async def _dialog(self, request: web.Request) -> web.StreamResponse:
        """The login page and, when its form comes back, the redirect."""
        world = self._emulation.world
        try:
            dialog = login.read_dialog(world, dict(request.query))
            if request.method == "GET":
                return _html(200, login.page(world, dialog))
            form = await request.post()
            if form.get("answer") != "continue":
                return _see_other(login.denied(dialog))
            ticked = {str(scope) for scope in form.getall("scope", [])}
            now = self._emulation.clock.now()
            return _see_other(login.granted(world, dialog, str(form.get("user", "")), ticked, now))
        except login.BadDialog as error:
            return _html(400, login.refused_page(str(error)))


async def _play(request: web.Request, reply: Reply, arrived: float) -> web.StreamResponse:
    """Let the client experience the reply; the call's effect is complete already, as on a slow server.

    The delay runs from when the request *arrived* (monotonic seconds): reading a body of megabytes and serving it are
    the emulator's work, and a call that is to take a second takes no longer for it.
    """
    if (left := arrived + reply.delay_s - time.monotonic()) > 0:
        await asyncio.sleep(left)
    if reply.hang:
        await asyncio.sleep(LONGEST_HANG)
    if reply.answer is None or reply.reset:
        return _reset(request)
    if reply.truncate is not None:
        return await _half(request, reply.answer, reply.truncate)
    return web.Response(status=reply.answer.status, body=reply.answer.body, headers=_headers(reply.answer))


def _headers(answer: Answer) -> dict[str, str]:
    return {"Content-Type": answer.content_type, **answer.headers}


def _reset(request: web.Request) -> web.StreamResponse:
    """Close the connection with a TCP reset: the client sees it die, not end."""
    transport = request.transport
    if transport is not None:
        connection = transport.get_extra_info("socket")
        if connection is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
    return web.Response(status=500)  # goes nowhere: the connection is gone


async def _half(request: web.Request, answer: Answer, size: int) -> web.StreamResponse:
    """Promise the whole body, send the first *size* bytes, close."""
    response = web.StreamResponse(status=answer.status, headers=_headers(answer))
    response.content_length = len(answer.body)
    await response.prepare(request)
    await response.write(answer.body[:size])
    if size < len(answer.body) and request.transport is not None:
        request.transport.close()
    return response


async def _drop_oversized(request: web.Request) -> web.StreamResponse:
    """Answer a body above the limit with an HTML page, as reported for the live API, and close."""
    response = _html(413, login.refused_page("The request is too large."))
    response.force_close()
    await response.prepare(request)
    return response


def _html(status: int, text: str) -> web.Response:
    return web.Response(status=status, text=text, content_type="text/html")


def _see_other(location: str) -> web.Response:
    return web.Response(status=303, headers={"Location": location})
