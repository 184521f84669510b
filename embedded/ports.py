"""Free ports on the loopback interface."""

import random
import socket
from contextlib import ExitStack, suppress
from pathlib import Path

HOST = "127.0.0.1"

FIRST = 10_000
"""Below it well-known services listen."""

EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")
"""The ports that the system itself gives away, see ip(7)."""

_TRIES = 50
"""Candidates for each port that is asked for."""


def free_ports(count: int, *, ephemeral: Path = EPHEMERAL) -> list[int]:
    """`count` different ports that were free a moment ago; all are held until all are found.

    They are none of those that the system gives to connections and to whoever listens on any port: parts that start
    meanwhile make many of both, and one would be taken before its part binds it. Somebody else may still take one: the
    part then fails by name, and a second start draws other ports.
    """
    with ExitStack() as held:
        found: list[int] = []
        for port in _candidates(count, ephemeral):
            one = held.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
            with suppress(OSError):
                one.bind((HOST, port))
                found.append(one.getsockname()[1])
            if len(found) == count:
                return found
        raise OSError(f"{len(found)} of {count} ports are free on {HOST}: too much listens there")


def _candidates(count: int, ephemeral: Path) -> list[int]:
    """Ports to try; 0 is one that the system chooses, where nothing is known or nothing is left below its own."""
    try:
        own = range(FIRST, int(ephemeral.read_text().split()[0]))
    except (OSError, ValueError, IndexError):
        own = range(0)
    wanted = count * _TRIES
    return random.SystemRandom().sample(own, wanted) if len(own) >= wanted else [0] * count
