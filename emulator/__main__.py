"""`python -m emulator`: start, say where in one JSON line, serve until told to stop."""

import argparse
import asyncio
import ctypes
import gc
import logging
import signal
import sys

import orjson

from emulator.app import running
from emulator.emulation import Emulation
from emulator.members import KEEPERS

M_TRIM_THRESHOLD = -1
M_MMAP_THRESHOLD = -3
"""Parameters of glibc's mallopt(3)."""


def arguments(words: list[str]) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="python -m emulator", description="A Graph API emulator.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=0, help="port of the Graph side (default: a free one)")
    parser.add_argument("--control-port", type=int, default=0, help="port of the control side (default: a free one)")
    parser.add_argument(
        "--keep",
        choices=sorted(KEEPERS),
        default="digests",
        help="what to remember of members: how many, who (default), or every value",
    )
    return parser.parse_args(words)


def rarely_collect_everything() -> None:
    """Let the cycle collector look at old objects (almost) never.

    A full collection visits every kept digest, and the rows of each request provoked one: with ten million members that
    cost more than a second each time. Garbage of a request dies young, so the younger generations suffice.
    """
    gc.set_threshold(50_000, 20, 1_000_000)


def keep_freed_memory() -> None:
    """Ask the C library to keep what bodies of several MB free, instead of returning it and faulting it in again.

    Worth a quarter of the speed when rows are only counted. Not for the modes that keep members: there the same memory
    would be held twice while their tables grow. Without glibc nothing is asked and nothing lost but speed.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, 32 * 1024 * 1024)
        mallopt(M_TRIM_THRESHOLD, 256 * 1024 * 1024)


async def serve(options: argparse.Namespace) -> None:
    """Run until SIGTERM or SIGINT; print `{"graph","control"}` when both ports answer."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    emulation = Emulation(options.keep)
    ports = {"port": options.port, "control_port": options.control_port}
    async with running(emulation, host=options.host, **ports) as addresses:
        sys.stdout.buffer.write(orjson.dumps(addresses, option=orjson.OPT_APPEND_NEWLINE))
        sys.stdout.flush()
        await stop.wait()


def main() -> int:
    """Run the command; the exit code tells whether it could start."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    options = arguments(sys.argv[1:])
    rarely_collect_everything()
    if options.keep == "counts":
        keep_freed_memory()
    try:
        asyncio.run(serve(options))
    except OSError as error:
        sys.stderr.write(f"emulator: cannot listen: {error}; choose other ports or leave them out\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
