"""`python -m embedded.training`: make Java's ahead-of-time cache, once, out of everybody's way.

A throw-away broker starts with `-XX:AOTCacheOutput`, becomes ready and ends; the JVM writes the file as it
exits (about 6 s in all, observed). Not done by the stack's own broker: its stop would take 4 s longer, and a
killed one would write nothing. Lowest priority, one at a time, bounded; whatever goes wrong, the next start tries
again and no start depends on it.
"""

import asyncio
import logging
import os
import shutil
import signal
import sys
import tempfile
from functools import partial
from pathlib import Path

from embedded.errors import EmbeddedError
from embedded.jars import exclusive
from embedded.jvm import Jvm, ensure_jvm, keep
from embedded.kafka import write_node
from embedded.kafka_config import NodeAddress
from embedded.kafka_probe import node_serves
from embedded.part import Part, launch
from embedded.ports import free_ports
from embedded.process import Child, Command

WRITE_SECONDS = 120.0
LOWEST_PRIORITY = 19

log = logging.getLogger(__name__)


def main() -> int:
    """Train if it is needed and nobody else does; 0 unless the training failed."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    os.nice(LOWEST_PRIORITY)
    try:
        jvm = ensure_jvm()
        if jvm.aot is None or not jvm.needs_training:
            return 0
        with exclusive(jvm.aot.with_suffix(".lock"), seconds=0):
            asyncio.run(_interruptible(jvm, jvm.aot))
    except TimeoutError:
        log.info("another process is making the cache")
    except asyncio.CancelledError:
        log.info("interrupted; the next start tries again")
    except (EmbeddedError, OSError) as error:
        log.warning("no ahead-of-time cache this time: %s", error)
        return 1
    return 0


async def _interruptible(jvm: Jvm, output: Path) -> None:
    """Train until done or SIGTERM; a cancelled training cleans up behind itself."""
    task = asyncio.ensure_future(train(jvm, output))
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    await task


async def train(jvm: Jvm, output: Path) -> None:
    """Run the throw-away broker and move what it wrote to `output`, atomically.

    Raises:
        PartFailed: The broker did not start.
        EmbeddedError: It wrote nothing, or not in time.
    """
    folder = Path(tempfile.mkdtemp(dir=output.parent, prefix=".training-"))
    try:
        port, controller_port = free_ports(2)
        node = NodeAddress(1, port, controller_port)
        command = jvm.trainee(folder / output.name, write_node(folder, node, (node,)))
        # SIGKILL as the stop signal: SIGTERM makes it write its cache, which an interrupted training must not wait for.
        trainee = Part(
            name="training",
            command=lambda: Command(command, folder=folder, stop=signal.SIGKILL),
            probe=partial(node_serves, node.number, node.port),
        )
        child = await launch(trainee, folder / "training.log")
        await _end_writing(child)
        if not (folder / output.name).exists():
            raise EmbeddedError(f"the broker ended without writing {output.name}")
        keep(folder / output.name, output)
        log.info("wrote %s", output)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def _end_writing(child: Child) -> None:
    try:
        os.kill(child.identity.pid, signal.SIGTERM)
        await asyncio.wait_for(child.ended(), WRITE_SECONDS)
    finally:
        await child.stop()


if __name__ == "__main__":
    sys.exit(main())
