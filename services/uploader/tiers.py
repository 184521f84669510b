"""Reading the delay topics: each partition waits until its head is due, then its records take the road of all others.

A tier is read by a group of its own, so that what waits there does not disturb the main line. Its records are written
in the order in which they become due, nearly: a wait that Meta asked for may be shorter than its tier's.
"""

from collections.abc import Callable, Mapping

from connector.kafka.consumer import ConcurrentConsumer
from connector.kafka.consumer_config import Tuning
from connector.kafka.consumer_facts import ConsumerObserver
from connector.kafka.record import Delay, Handler, OnDefect, PutAside, Record
from connector.kafka.topics import CHUNK_RETRIES
from connector.runtime.settings import KafkaSettings
from services.uploader.retrying import Tier


def tier_consumers(
    settings: KafkaSettings,
    tiers: Mapping[str, Tier],
    *,
    group: str,
    handler: Handler,
    on_defect: OnDefect,
    on_stuck: PutAside,
    put_back: Callable[[str], PutAside],
    lane_of: Callable[[Record], str],
    concurrency: int,
    tuning: Tuning,
    observer: Callable[[str], ConsumerObserver],
) -> dict[str, ConcurrentConsumer]:
    """A consumer for each delay topic, by the tier's name; *concurrency* records of each are worked on at once.

    Args:
        settings: The broker.
        tiers: How long records wait in which one.
        group: The main line's; the tiers' groups are named after it.
        handler: The main line's.
        on_defect: The same.
        on_stuck: The same.
        put_back: By tier: writes a record to its end again, which is due later than the tier waits.
        lane_of: The main line's.
        concurrency: Records at once.
        tuning: The main line's.
        observer: By group.
    """
    consumers = {}
    for topic in CHUNK_RETRIES:
        name = topic.name.rpartition(".")[2]
        own_group = f"{group}-retry-{name}"
        consumers[name] = ConcurrentConsumer(
            settings,
            topics=[topic.full_name(settings.topic_prefix)],
            group=own_group,
            handler=handler,
            lane_of=lane_of,
            lane_concurrency=concurrency,
            concurrency=concurrency,
            on_defect=on_defect,
            on_stuck=on_stuck,
            delay=Delay(tiers[name].seconds, put_back(name)),
            observer=observer(own_group),
            tuning=tuning,
        )
    return consumers
