"""Two worker threads on two cores beside one on one core: how much of the pipeline runs outside Python's global lock.

And beside two processes, one on each core, which share no lock: what the machine itself has to give. Each runs in
processes of its own, with the settings of the uploader: they decide what fresh memory costs, and are read once.
"""

import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import perf_counter
from typing import IO, TYPE_CHECKING, cast

from connector.runtime.memory import give_back

if TYPE_CHECKING:
    from bench.measuring import Figure

ONE, TWO_PROCESSES = "one thread", "two processes"


def measure(*, records: int = 200_000, rounds: int = 5, seed: int = 26) -> "list[Figure]":
    """Records per second of two threads, of one, and of two processes."""
    from bench.measuring import Figure, told  # noqa: PLC0415 -- the child chooses its cores before anything is imported

    def taken(threads: int, processes: int) -> float:
        children = [_child(threads, number, records, seed) for number in range(processes)]
        for child in children:
            _line_of(child)  # it is ready
        for child in children:
            _start(child)
        return max(float(_line_of(child)) for child in children)

    contenders = {"ours": lambda: taken(2, 1), ONE: lambda: taken(1, 1), TWO_PROCESSES: lambda: taken(1, 2)}
    took = told(contenders, rounds=rounds)
    peers = {ONE: records / took[ONE], TWO_PROCESSES: 2 * records / took[TWO_PROCESSES]}
    return [Figure("two_workers", "records/s", records / took["ours"], peers)]


def _child(threads: int, core: int, records: int, seed: int) -> "subprocess.Popen[str]":
    """A process that gets ready to prepare the records of one seed, and waits to be started."""
    command = [sys.executable, "-m", "bench.two_workers", *map(str, (threads, core, records, seed))]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)  # noqa: S603 -- our own


def _start(child: "subprocess.Popen[str]") -> None:
    pipe = cast("IO[str]", child.stdin)
    pipe.write("go\n")
    pipe.flush()


def _line_of(child: "subprocess.Popen[str]") -> str:
    return cast("IO[str]", child.stdout).readline()


def _main(threads: int, core: int, records: int, seed: int) -> None:
    if sys.platform == "linux":
        os.sched_setaffinity(0, {(core + number) % (os.cpu_count() or 1) for number in range(threads)})
    give_back()
    from bench.customers_body import NDJSON, blocks_of  # noqa: PLC0415 -- after the settings

    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(threads) as workers:
        blocks = [[block] for block in blocks_of(NDJSON, Path(folder), records, seed=seed)]
        list(workers.map(NDJSON.exhaust, blocks))
        print("ready", flush=True)
        sys.stdin.readline()
        start = perf_counter()
        list(workers.map(NDJSON.exhaust, blocks))
        print(perf_counter() - start)


if __name__ == "__main__":
    _main(*map(int, sys.argv[1:]))
