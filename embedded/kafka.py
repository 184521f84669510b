"""A real Apache Kafka (KRaft) of one or three nodes, each node one child process.

    async with KafkaCluster(nodes=3, folder=tmp_path) as kafka:
        client = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap)
        await kafka.kill(2)   # SIGKILL, as a crash
        await kafka.start(2)  # same ports, same data

`KafkaPlan` says what the nodes are; the context manager here and the supervisor both start what it says.
"""

import asyncio
import os
import secrets
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from embedded.jvm import Jvm, ensure_jvm
from embedded.kafka_config import ID_BYTES, NodeAddress, kafka_id, meta_properties, server_properties
from embedded.kafka_probe import node_serves
from embedded.options import Nodes
from embedded.part import Part, launch, launch_all, stop_all
from embedded.ports import HOST, free_ports
from embedded.process import Child, Command, spawn

STOP_SECONDS = 10.0
ADVICE = "read the log; if its data is damaged, `fbc dev down --wipe` starts from nothing"


class KafkaPlan:
    """The nodes of one cluster: ports drawn once and kept, data in `<folder>/<node>/data`.

    Args:
        folder: Holds the cluster's data; made if absent, reused if it holds some.
        nodes: 1 or 3. Data of a cluster of one size cannot serve another size.
    """

    def __init__(self, folder: Path, nodes: Nodes = 1) -> None:
        ports = free_ports(2 * nodes)
        self.folder = folder.absolute()
        self.addresses = tuple(
            NodeAddress(number, ports[2 * number - 2], ports[2 * number - 1]) for number in range(1, nodes + 1)
        )
        self._jvm: Jvm | None = None
        self._preparing = asyncio.Lock()

    @property
    def bootstrap(self) -> str:
        """`host:port` of every node, joined by commas."""
        return ",".join(f"{HOST}:{address.port}" for address in self.addresses)

    @property
    def needs_training(self) -> bool:
        """Whether a start would be quicker with an ahead-of-time cache that is not there yet."""
        return self._jvm is not None and self._jvm.needs_training

    def parts(self) -> tuple[Part, ...]:
        """The nodes as parts, named `kafka-1` and so on."""
        return tuple(self._part(address) for address in self.addresses)

    def _part(self, address: NodeAddress) -> Part:
        return Part(
            name=f"kafka-{address.number}",
            command=partial(self._command, address),
            probe=partial(node_serves, address.number, address.port),
            prepare=partial(self._prepare, address),
            advice=ADVICE,
        )

    def _command(self, address: NodeAddress) -> Command:
        if self._jvm is None:
            raise RuntimeError("a node is prepared before its command is asked for")
        home = self.folder / str(address.number)
        return Command(self._jvm.broker(home / "server.properties"), folder=home, grace=STOP_SECONDS)

    async def _prepare(self, address: NodeAddress) -> None:
        async with self._preparing:  # one node asks for the JVM, the others find it
            if self._jvm is None:
                self._jvm = await asyncio.to_thread(ensure_jvm)
            write_node(self.folder, address, self.addresses)


def write_node(folder: Path, address: NodeAddress, cluster: tuple[NodeAddress, ...]) -> Path:
    """Write a node's properties, and format its data folder if it is new.

    Returns:
        Path of its `server.properties`.
    """
    home = folder / str(address.number)
    data = home / "data"
    data.mkdir(parents=True, exist_ok=True)
    (home / "server.properties").write_text(server_properties(address, cluster, data))
    if not (data / "meta.properties").exists():
        identity = meta_properties(address.number, _cluster_id(folder), kafka_id(secrets.token_bytes(ID_BYTES)))
        (data / "meta.properties").write_text(identity)
    return home / "server.properties"


def _cluster_id(folder: Path) -> str:
    """The id all nodes of the folder share, drawn when the first of them is formatted."""
    path = folder / "cluster.id"
    if not path.exists():
        path.write_text(kafka_id(secrets.token_bytes(ID_BYTES)))
    return path.read_text()


def training() -> Command:
    """The program that makes the ahead-of-time cache; it does nothing if there is one or another makes it."""
    return Command((sys.executable, "-m", "embedded.training"), environment=dict(os.environ), grace=STOP_SECONDS)


class KafkaCluster:
    """A cluster for a test or a script: up inside `async with`, gone after it; its data stays in `folder`.

    Args:
        folder: Holds data and logs (`<folder>/logs/kafka-N.log`).
        nodes: 1 or 3.

    Attributes:
        bootstrap: What clients connect to.
    """

    def __init__(self, *, folder: Path, nodes: Nodes = 1) -> None:
        self._plan = KafkaPlan(folder, nodes)
        self._parts = dict(enumerate(self._plan.parts(), start=1))
        self._children: dict[int, Child] = {}
        self._trainer: Child | None = None
        self._logs = folder.absolute() / "logs"
        self.bootstrap = self._plan.bootstrap

    def log(self, node: int = 1) -> Path:
        """The log file of a node."""
        return self._logs / f"{self._parts[node].name}.log"

    def pid(self, node: int = 1) -> int:
        """The process id of a node that was started."""
        return self._children[node].identity.pid

    async def __aenter__(self) -> Self:
        children = await launch_all(self._parts.values(), self._logs)
        self._children = {node: children[part.name] for node, part in self._parts.items()}
        if self._plan.needs_training:
            self._trainer = await spawn(training(), self._logs / "training.log")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await stop_all(self._running())

    def _running(self) -> Iterator[Child]:
        yield from self._children.values()
        if self._trainer is not None:
            yield self._trainer

    async def start(self, node: int = 1) -> None:
        """Bring a killed or stopped node back: same ports, same data; returns when it serves."""
        if node not in self._children or not self._children[node].running:
            self._children[node] = await launch(self._parts[node], self.log(node))

    async def stop(self, node: int = 1) -> None:
        """Controlled shutdown of a node (SIGTERM)."""
        await self._children[node].stop()

    async def kill(self, node: int = 1) -> None:
        """Crash a node (SIGKILL); returns when it is dead."""
        await self._children[node].kill()

    def pause(self, node: int = 1) -> None:
        """Freeze a node (SIGSTOP): connections stay open, nothing answers."""
        self._children[node].pause()

    def resume(self, node: int = 1) -> None:
        """Let a frozen node go on."""
        self._children[node].resume()
