"""The files a KRaft node starts from, as text. Pure.

Writing `meta.properties` ourselves spares a second JVM (`kafka-storage format`, 0.7 to 1 s). It sets the metadata
version only: features such as KIP-848 groups stay off, and aiokafka does not use them.
"""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from embedded.ports import HOST

ID_BYTES = 16


@dataclass(frozen=True, slots=True)
class NodeAddress:
    """Where one node listens: for clients and for its fellow controllers."""

    number: int
    port: int
    controller_port: int


def server_properties(node: NodeAddress, cluster: Sequence[NodeAddress], data: Path) -> str:
    """The `server.properties` of one node of a cluster of 1 or 3.

    Topics are never created by accident; internal topics have 4 partitions instead of 50, which is what makes
    the first group join quick.
    """
    voters = ",".join(f"{one.number}@{HOST}:{one.controller_port}" for one in cluster)
    client = f"PLAINTEXT://{HOST}:{node.port}"
    settings = {
        "process.roles": "broker,controller",
        "node.id": node.number,
        "controller.quorum.voters": voters,
        "listeners": f"{client},CONTROLLER://{HOST}:{node.controller_port}",
        "advertised.listeners": client,
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": "PLAINTEXT",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "log.dirs": _escaped(str(data)),
        **COMMON,
        **(REPLICATED if len(cluster) > 1 else SINGLE),
    }
    return "".join(f"{name}={value}\n" for name, value in settings.items())


COMMON = {
    "auto.create.topics.enable": "false",
    "offsets.topic.num.partitions": 4,
    "transaction.state.log.num.partitions": 4,
    "group.initial.rebalance.delay.ms": 0,
    "group.min.session.timeout.ms": 500,
    "num.network.threads": 2,
    "num.io.threads": 2,
    "background.threads": 2,
    "num.recovery.threads.per.data.dir": 1,
    "log.cleaner.dedupe.buffer.size": 2_097_152,
    "log.segment.bytes": 16_777_216,
    # A killed node may register again once its old session is over: after 3 s instead of 9. With three nodes it
    # is also when its partitions get new leaders (observed: 3.6 s without one).
    "broker.session.timeout.ms": 3000,
    "broker.heartbeat.interval.ms": 500,
}

SINGLE = {
    "offsets.topic.replication.factor": 1,
    "transaction.state.log.replication.factor": 1,
    "transaction.state.log.min.isr": 1,
    "share.coordinator.state.topic.replication.factor": 1,
    "share.coordinator.state.topic.min.isr": 1,
}

REPLICATED = {
    "default.replication.factor": 3,
    "min.insync.replicas": 2,
    "offsets.topic.replication.factor": 3,
    "transaction.state.log.replication.factor": 3,
    "transaction.state.log.min.isr": 2,
    "share.coordinator.state.topic.replication.factor": 3,
    "controller.quorum.election.timeout.ms": 500,
    "controller.quorum.fetch.timeout.ms": 1000,
    "replica.lag.time.max.ms": 4000,
}


def meta_properties(node: int, cluster_id: str, directory_id: str) -> str:
    """The `meta.properties` that marks a data folder as formatted for one node of one cluster."""
    return f"version=1\ncluster.id={cluster_id}\ndirectory.id={directory_id}\nnode.id={node}\n"


def kafka_id(randomness: bytes) -> str:
    """Kafka's spelling of a UUID: 16 bytes in base64url without padding.

    Raises:
        ValueError: Not 16 bytes.
    """
    if len(randomness) != ID_BYTES:
        raise ValueError(f"a Kafka id has {ID_BYTES} bytes, not {len(randomness)}")
    return base64.urlsafe_b64encode(randomness).rstrip(b"=").decode()


def _escaped(value: str) -> str:
    """A value as java.util.Properties reads it back: a backslash is its escape character."""
    return value.replace("\\", "\\\\")
