"""Giving memory back: what the allocators keep for later is most of a process that moves megabytes in bursts.

Import this before anything that imports polars, and call it first: its allocator reads the environment when it is
loaded. What it costs and what it saves is in docs/adr/0011.
"""

import ctypes
import os

MMAP_THRESHOLD = 1024 * 1024
"""What is larger goes back to the system when it is freed, and is new memory the next time, which costs a page fault
for every four kilobytes. A piece of a body is smaller."""

TRIM_THRESHOLD = 16 * 1024 * 1024
"""So much is kept for the next bodies of what is free at the end of the heap."""

ARENAS = 1
"""Memory that one thread freed is there for the next one."""

JEMALLOC = "narenas:1,dirty_decay_ms:200,muzzy_decay_ms:0"
"""Of the allocator of polars: freed pages are there for all threads, for a moment."""

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
"""From glibc's malloc.h; the tunables of the environment work only for processes that are not running yet."""


def give_back() -> None:
    """Makes all allocators return what is freed, and polars use one thread and its engine for what is in memory.

    What the environment says already is left as it is, but for jemalloc's settings.
    """
    # What calls it has threads of its own. With as many here each small step wakes both cores for what one does sooner.
    os.environ.setdefault("POLARS_MAX_THREADS", "1")
    # Its streaming engine is for what does not fit into memory: for a chunk its pipelines and threads cost 12 % more.
    os.environ.setdefault("POLARS_ENGINE_AFFINITY", "in-memory")
    # Not a default: polars writes its own settings into the environment, and who is started by a process that has
    # imported it would inherit these and keep freed pages for half a second.
    os.environ["_RJEM_MALLOC_CONF"] = JEMALLOC
    # Arrow, which reads Parquet, brings an allocator of its own, which keeps 40 MiB; with this it uses glibc's.
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:  # glibc; elsewhere the defaults are what they are
        for name, value in (
            (_M_MMAP_THRESHOLD, MMAP_THRESHOLD),
            (_M_TRIM_THRESHOLD, TRIM_THRESHOLD),
            (_M_ARENA_MAX, ARENAS),
        ):
            mallopt(name, value)
