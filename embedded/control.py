"""Talking to the running supervisor: one JSON line each way over a loopback connection.

Whoever can read the state file (0600) has the secret and may ask; nobody else on the machine may.
"""

import asyncio
import hmac
import json
import logging
import secrets
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from embedded.errors import EmbeddedError, StackUnreachable
from embedded.ports import HOST
from embedded.state import ControlAddress

LINE_LIMIT_BYTES = 65_536
READ_SECONDS = 5.0
MOST_PROCESSES = 32

log = logging.getLogger(__name__)


class _Request(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Down(_Request):
    """Stop every part, then yourself. Answered at once, before the work is done."""

    do: Literal["down"] = "down"


class Scale(_Request):
    """Run `count` processes of a service. Answered when they are ready, or gone."""

    do: Literal["scale"] = "scale"
    service: str
    count: Annotated[int, Field(ge=0, le=MOST_PROCESSES)]


class Restart(_Request):
    """Stop a part politely and start it again. Answered when it is ready."""

    do: Literal["restart"] = "restart"
    part: str


Request = Down | Scale | Restart
_requests: TypeAdapter[Request] = TypeAdapter(Annotated[Request, Field(discriminator="do")])


class Answer(BaseModel):
    """What the supervisor says: `error` is None if it did what was asked."""

    said: str = ""
    error: str | None = None


Handler = Callable[[Request], Awaitable[str]]


class ControlServer:
    """The supervisor's ear.

    Args:
        handle: Does what a request asks and returns what to say; an `EmbeddedError` becomes the answer's error.
    """

    def __init__(self, handle: Handler) -> None:
        self._handle = handle
        self._secret = secrets.token_urlsafe(32)
        self._server: asyncio.Server | None = None

    async def open(self) -> ControlAddress:
        """Listen on a free loopback port."""
        self._server = await asyncio.start_server(self._serve, HOST, 0, limit=LINE_LIMIT_BYTES)
        port = self._server.sockets[0].getsockname()[1]
        return ControlAddress(host=HOST, port=port, secret=self._secret)

    async def close(self) -> None:
        """Stop listening; requests under way are not waited for."""
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            line = await asyncio.wait_for(reader.readline(), READ_SECONDS)
            answer = await self._answer(line)
            writer.write(answer.model_dump_json().encode() + b"\n")
            await asyncio.wait_for(writer.drain(), READ_SECONDS)
        except (TimeoutError, ValueError, ConnectionError) as error:
            log.warning("a control request was dropped: %s", type(error).__name__)
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    async def _answer(self, line: bytes) -> Answer:
        try:
            envelope = json.loads(line)
            if not hmac.compare_digest(str(envelope["secret"]), self._secret):
                return Answer(error="the secret is wrong: another stack may be using this port now")
            request = _requests.validate_python(envelope["request"])
        except (ValidationError, ValueError, KeyError, TypeError):
            return Answer(error="the request is not understood: is `fbc` of another version than the running stack?")
        try:
            return Answer(said=await self._handle(request))
        except EmbeddedError as error:
            return Answer(error=str(error))


def ask(address: ControlAddress, request: Request, seconds: float) -> str:
    """Ask the running supervisor. Blocking, and light: `fbc` uses it.

    Args:
        address: From the state file.
        request: What to do.
        seconds: How long it may take.

    Returns:
        What it said.

    Raises:
        EmbeddedError: It refused or failed; the message is its own.
        StackUnreachable: It did not answer in time.
    """
    envelope = {"secret": address.secret, "request": request.model_dump()}
    try:
        with socket.create_connection((address.host, address.port), timeout=seconds) as connection:
            connection.sendall(json.dumps(envelope).encode() + b"\n")
            with connection.makefile("rb") as answers:
                answer = Answer.model_validate_json(answers.readline(LINE_LIMIT_BYTES))
    except (OSError, ValidationError) as error:
        raise StackUnreachable(
            f"the supervisor did not answer at {address.host}:{address.port} within {seconds:g} s "
            f"({type(error).__name__}): `fbc dev status` shows what is left, `fbc dev down` stops it"
        ) from error
    if answer.error is not None:
        raise EmbeddedError(answer.error)
    return answer.said
