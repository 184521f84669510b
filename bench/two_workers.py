"""Two worker threads on two cores beside one: how much of the pipeline runs without Python's global lock.

In a process of its own, because the others are pinned to one core.
"""

import json
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.measuring import Figure

ONE = "one thread"


def measure(*, records: int = 200_000, rounds: int = 3, seed: int = 26) -> "list[Figure]":
    """Records per second of two threads and of one; nothing where there is one core only."""
    from bench.measuring import Figure  # noqa: PLC0415 -- the child sets up its cores before anything is imported

    command = [sys.executable, "-m", "bench.two_workers", str(records), str(rounds), str(seed)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    rates = json.loads(done.stdout)
    return [Figure("two_workers", "records/s", rates["two"], {ONE: rates["one"]})]


def _measured(records: int, rounds: int, seed: int) -> dict[str, float]:
    from bench.customers import write_ndjson  # noqa: PLC0415
    from bench.customers_body import blocks_of, our_bodies  # noqa: PLC0415
    from bench.measuring import seconds  # noqa: PLC0415

    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(2) as threads:
        path = Path(folder) / "customers.ndjson"
        write_ndjson(path, records, seed=seed)
        blocks = [[block] for block in blocks_of(path)]
        took = seconds(
            {
                "one": lambda: [our_bodies(block) for block in blocks],
                "two": lambda: list(threads.map(our_bodies, blocks)),
            },
            rounds=rounds,
        )
    return {name: records / time for name, time in took.items()}


if __name__ == "__main__":
    if sys.platform == "linux":
        os.sched_setaffinity(0, range(os.cpu_count() or 1))
    # Each thread its own core: the figure is of two of ours, not of polars' pool.
    os.environ["POLARS_MAX_THREADS"] = "1"
    print(json.dumps(_measured(*map(int, sys.argv[1:]))))
