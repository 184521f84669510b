"""The consumer's benchmark measures what it says: both contenders read the whole topic."""

import asyncio

from bench.consumer import GETONE, measure_on
from connector.runtime.settings import KafkaSettings


def test_figure(kafka_bootstrap: str) -> None:
    """Every event is decoded and completed, every record is taken; both have a figure."""
    with asyncio.Runner() as runner:
        (figure,) = measure_on(runner, KafkaSettings(bootstrap=kafka_bootstrap, replication=1), events=500, rounds=1)
    assert figure.ours > 0
    assert figure.as_json()["ratio"] == {GETONE: round(figure.ours / figure.peers[GETONE], 2)}
