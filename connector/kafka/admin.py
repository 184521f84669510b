"""Creating the topics that are declared, and telling where a broker's differ."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import TopicAlreadyExistsError, for_code

from connector.kafka.connection import connection_arguments
from connector.kafka.topics import Topic
from connector.runtime.settings import KafkaSettings

TIMEOUT = 30.0


class TopicError(Exception):
    """Raised when the broker refuses to create a topic; the text names topic and reason."""


@dataclass(frozen=True)
class Ensured:
    """What `ensure` found and did. *differing* lines name topics whose partition count is not the declared one."""

    created: tuple[str, ...]
    existing: tuple[str, ...]
    differing: tuple[str, ...]


async def ensure(settings: KafkaSettings, topics: Sequence[Topic]) -> Ensured:
    """Creates what is missing; never changes or deletes what is there.

    Partitions are not added to an existing topic: that would move keys to other partitions and break the order and the
    locality of an ad account. A difference is reported for a person to decide.
    """
    async with asyncio.timeout(TIMEOUT):
        client = AIOKafkaAdminClient(**connection_arguments(settings, "fbc-topics"))
        await client.start()
        try:
            return await _ensure(client, settings, topics)
        finally:
            await client.close()


async def _ensure(client: AIOKafkaAdminClient, settings: KafkaSettings, topics: Sequence[Topic]) -> Ensured:
    names = {topic.full_name(settings.topic_prefix): topic for topic in topics}
    present = set(await client.list_topics())
    missing = [name for name in names if name not in present]
    if missing:
        answer = await client.create_topics([_new(name, names[name], settings.replication) for name in missing])
        for name, code, *message in answer.topic_errors:
            if code and for_code(code) is not TopicAlreadyExistsError:
                raise TopicError(f"topic {name} was not created: {for_code(code).__name__} {message}")
    described = await client.describe_topics([name for name in names if name in present])
    differing = tuple(
        f"{found['topic']}: {len(found['partitions'])} partitions, {names[found['topic']].partitions} declared"
        for found in described
        if len(found["partitions"]) != names[found["topic"]].partitions
    )
    return Ensured(tuple(missing), tuple(name for name in names if name in present), differing)


def _new(name: str, topic: Topic, replication: int) -> NewTopic:
    return NewTopic(
        name=name,
        num_partitions=topic.partitions,
        replication_factor=replication,
        topic_configs=topic.config(),
    )
