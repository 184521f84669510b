"""Free ports on the loopback interface."""

import socket
from contextlib import ExitStack

HOST = "127.0.0.1"


def free_ports(count: int) -> list[int]:
    """`count` different ports that were free a moment ago; all are held until all are found.

    Somebody may still take one before its part binds it: the part then fails by name, and a second start
    draws other ports.
    """
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM)) for _ in range(count)]
        for one in sockets:
            one.bind((HOST, 0))
        return [one.getsockname()[1] for one in sockets]
