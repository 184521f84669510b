"""The outcomes topic as a Faust stream: raw bytes in, one event at a time, acknowledged by hand.

Faust acks an event whose handler raised or was cancelled, and drops what it cannot decode. So the bytes are taken raw,
the stream acknowledges nothing by itself, and an event is acknowledged when its outcome is in the ledger: what a stop
or a crash interrupts is read again.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faust
from aiokafka.helpers import create_ssl_context

from connector.kafka.headers import Headers
from connector.kafka.topics import OUTCOMES
from connector.runtime.settings import KafkaSettings

GROUP = "fbc-progress"
COMMIT_SECONDS = 1.0


@dataclass(frozen=True)
class StreamRecord:
    """A record as Faust read it, in our own terms."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: Headers


def outcome_stream(
    settings: KafkaSettings, handle: Callable[[StreamRecord], Awaitable[bool]], folder: Path
) -> faust.App:
    """A Faust app that gives each record of the outcomes topic to *handle*, in the order of its partition.

    It goes on to the next record when *handle* says True, and stops reading when it says False. *folder* is where
    Faust makes its (empty) data folders: they would appear in the current one otherwise.
    """
    app = faust.App(
        GROUP,
        broker=[f"aiokafka://{address}" for address in settings.bootstrap.split(",")],
        broker_credentials=_credentials(settings),
        broker_client_id=GROUP,
        broker_commit_interval=COMMIT_SECONDS,
        broker_session_timeout=settings.session_timeout,
        broker_request_timeout=max(settings.request_timeout, settings.session_timeout + 5),
        consumer_auto_offset_reset="earliest",
        store="memory://",
        datadir=folder,
        topic_disable_leader=True,
        topic_allow_declare=False,
        # A rebalance must not wait for an event that is held because the database is down.
        stream_wait_empty=False,
        web_enabled=False,
    )
    topic = app.topic(
        OUTCOMES.full_name(settings.topic_prefix),
        key_type=bytes,
        value_type=bytes,
        key_serializer="raw",
        value_serializer="raw",
    )

    async def settle(stream: Any) -> None:
        async for event in stream.noack().events():
            if not await handle(_record(event.message)):
                return
            event.ack()

    app.agent(topic, name="settle")(settle)
    return app


def _record(message: Any) -> StreamRecord:
    return StreamRecord(
        topic=message.topic,
        partition=message.partition,
        offset=message.offset,
        timestamp_ms=int(message.timestamp * 1_000),
        key=message.key,
        value=message.value,
        headers=tuple(message.headers or ()),
    )


def _credentials(settings: KafkaSettings) -> Any:
    """Our Kafka settings as Faust's credentials; None for a plain connection."""
    encrypted = settings.security_protocol in {"SSL", "SASL_SSL"}
    context = create_ssl_context(cafile=settings.ssl_ca_file and str(settings.ssl_ca_file)) if encrypted else None
    if settings.sasl_mechanism is not None:
        password = settings.sasl_password.get_secret_value() if settings.sasl_password else None
        return faust.SASLCredentials(
            username=settings.sasl_username,
            password=password,
            mechanism=settings.sasl_mechanism,
            ssl_context=context,
        )
    return faust.SSLCredentials(context) if context is not None else None
