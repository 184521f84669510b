"""Whether a broker can serve: one `describe_cluster` through its own address."""

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from embedded.ports import HOST

TIMEOUT_MS = 2000

_probing: ContextVar[bool] = ContextVar("probing", default=False)


async def node_serves(number: int, port: int) -> bool:
    """Whether node `number` at `port` is registered with the cluster and unfenced.

    Raises:
        Exception: Whatever the client raises while the broker is still coming up: it means "not yet".
    """
    from aiokafka.admin import AIOKafkaAdminClient  # noqa: PLC0415 - 0.1 s, spent while the broker starts

    await _accepts(port)  # before the client is asked: it would log and wait at a closed port
    with _quiet():
        client = AIOKafkaAdminClient(bootstrap_servers=f"{HOST}:{port}", request_timeout_ms=TIMEOUT_MS)
        try:
            await client.start()
            cluster = await client.describe_cluster()
        finally:
            await client.close()
    return any(broker["node_id"] == number for broker in cluster["brokers"])


async def _accepts(port: int) -> None:
    _, writer = await asyncio.open_connection(HOST, port)
    writer.close()
    await writer.wait_closed()


@contextmanager
def _quiet() -> Iterator[None]:
    """Drop what aiokafka logs about brokers that are not there yet, in this task and its children only."""
    for name in ("aiokafka", "aiokafka.conn", "aiokafka.cluster", "aiokafka.admin.client"):
        logging.getLogger(name).addFilter(_not_probing)
    token = _probing.set(True)
    try:
        yield
    finally:
        _probing.reset(token)


def _not_probing(_: logging.LogRecord) -> bool:
    return not _probing.get()
