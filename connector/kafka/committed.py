"""What a group committed, with the metadata: the consumer itself only tells the offset."""

import asyncio
from collections.abc import Iterable, Mapping

import structlog
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from aiokafka.structs import OffsetAndMetadata, TopicPartition

from connector.kafka.connection import connection_arguments
from connector.runtime.settings import KafkaSettings

log = structlog.get_logger()

RETRY_AFTER = 0.25

ANSWER_ERRORS = (KafkaError, AttributeError)
"""AttributeError: aiokafka 0.14 stumbles over its own report when the broker answers an error for a partition."""


async def committed_offsets(
    settings: KafkaSettings, group: str, partitions: Iterable[TopicPartition], *, timeout_after: float
) -> Mapping[TopicPartition, OffsetAndMetadata]:
    """Offset and metadata of each of *partitions* that has a committed offset in *group*.

    A coordinator that is loading or moving is asked again until the time is over.

    Raises:
        TimeoutError: No answer within *timeout_after* seconds.
        KafkaError: The broker cannot be connected to.
    """
    wanted = list(partitions)
    if not wanted:
        return {}
    async with asyncio.timeout(timeout_after):
        client = AIOKafkaAdminClient(**connection_arguments(settings, f"{group}-offsets"))
        try:
            await client.start()
            found = await _ask(client, group, wanted)
        finally:
            await client.close()
    return {partition: committed for partition, committed in found.items() if committed.offset >= 0}


async def _ask(
    client: AIOKafkaAdminClient, group: str, partitions: list[TopicPartition]
) -> Mapping[TopicPartition, OffsetAndMetadata]:
    while True:
        try:
            answer: Mapping[TopicPartition, OffsetAndMetadata] = await client.list_consumer_group_offsets(
                group, partitions=partitions
            )
        except ANSWER_ERRORS as error:
            log.info("kafka.committed_offsets_not_answered", group=group, error=type(error).__name__)
            await asyncio.sleep(RETRY_AFTER)
        else:
            return answer
