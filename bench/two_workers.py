"""Two worker threads on two cores beside one on one core: how much of the pipeline runs outside Python's global lock.

Each in a process of its own: the engine takes the number of its threads from the environment, once, and two workers
that shared one thread of the engine would wait for each other.
"""

import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.measuring import Figure

ONE = "one thread"


def measure(*, records: int = 200_000, rounds: int = 3, seed: int = 26) -> "list[Figure]":
    """Records per second of two threads and of one."""
    from bench.measuring import Figure  # noqa: PLC0415 -- the child chooses its cores before anything is imported

    times: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(rounds):
        for threads, taken in times.items():
            taken.append(_timed_apart(threads, records, seed))
    one, two = (records / median(taken) for taken in times.values())
    return [Figure("two_workers", "records/s", two, {ONE: one})]


def _timed_apart(threads: int, records: int, seed: int) -> float:
    command = [sys.executable, "-m", "bench.two_workers", str(threads), str(records), str(seed)]
    environment = os.environ | {"POLARS_MAX_THREADS": str(threads)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)  # noqa: S603 -- our own
    return float(done.stdout)


def _seconds(threads: int, records: int, seed: int) -> float:
    from bench.customers_body import NDJSON, blocks_of  # noqa: PLC0415
    from bench.measuring import seconds  # noqa: PLC0415

    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(threads) as workers:
        blocks = [[block] for block in blocks_of(NDJSON, Path(folder), records, seed=seed)]
        return seconds({"all": lambda: list(workers.map(NDJSON.exhaust, blocks))}, rounds=1)["all"]


if __name__ == "__main__":
    wanted, *rest = map(int, sys.argv[1:])
    if sys.platform == "linux":
        os.sched_setaffinity(0, range(min(wanted, os.cpu_count() or 1)))
    print(_seconds(wanted, *rest))
