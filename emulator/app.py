"""The composition root: one emulation, two applications on two ports."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from aiohttp import web

from emulator.control import ControlSide
from emulator.emulation import Emulation
from emulator.serving import LONGEST_LINE, READ_BUFFER, GraphSide

SHUTDOWN_SECONDS = 1.0
"""How long calls in flight may finish when the emulator is stopped; hanging ones are cut."""


@dataclass(frozen=True)
class Addresses:
    """Base URLs of the two sides, without a trailing slash."""

    graph: str
    control: str


@asynccontextmanager
async def running(
    emulation: Emulation, *, host: str = "127.0.0.1", port: int = 0, control_port: int = 0
) -> AsyncIterator[Addresses]:
    """Serve *emulation* on two ports until the block is left.

    Args:
        emulation: What to serve.
        host: Address to listen on.
        port: Port of the Graph side, 0 for a free one.
        control_port: Port of the control side, 0 for a free one.

    Raises:
        OSError: A port is taken.
    """
    async with AsyncExitStack() as stack:
        graph = await _listen(stack, GraphSide(emulation).application(), host, port)
        control = await _listen(stack, ControlSide(emulation).application(), host, control_port)
        yield Addresses(graph, control)


async def _listen(stack: AsyncExitStack, application: web.Application, host: str, port: int) -> str:
    runner = web.AppRunner(
        application,
        access_log=None,  # would write paths with tokens in them
        handler_cancellation=True,  # a hang ends when the client leaves
        shutdown_timeout=SHUTDOWN_SECONDS,
        read_bufsize=READ_BUFFER,
        max_line_size=LONGEST_LINE,
        max_field_size=LONGEST_LINE,
    )
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    await web.TCPSite(runner, host, port).start()
    bound_host, bound_port = runner.addresses[0][:2]
    shown = f"[{bound_host}]" if ":" in bound_host else bound_host
    return f"http://{shown}:{bound_port}"
