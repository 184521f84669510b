"""`python -m bench [NAME...] -o json|table`: every benchmark, or the named ones, on one core."""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from importlib import import_module
from typing import TYPE_CHECKING, cast

from connector.runtime.memory import give_back

if TYPE_CHECKING:
    from bench.measuring import Figure

ONE_CORE = ("request_body", "customers_body")
"""Modules of this package with a `measure()` of single-threaded work: pinned, since all their figures are per core."""

ALL_CORES = ("two_workers", "consumer", "one_throttled", "uploader_throughput")
"""Those that measure several threads or processes."""

BENCHMARKS = (*ONE_CORE, *ALL_CORES)


def main() -> None:
    """Runs and prints."""
    arguments = _arguments()
    names = arguments.names or BENCHMARKS
    if len(names) == 1 and names[0] in ONE_CORE:
        _pin_to_one_core()
    figures = _measure(names[0]) if len(names) == 1 else [figure for name in names for figure in _measured_apart(name)]
    if arguments.output == "json":
        print(json.dumps([figure.as_json() for figure in figures]))
    else:
        print("\n".join(_table(figures)))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Ours beside its peers, in one run.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of: {', '.join(BENCHMARKS)}")
    parser.add_argument("-o", "--output", choices=("json", "table"), default="table")
    arguments = parser.parse_args()
    unknown = sorted(set(arguments.names) - set(BENCHMARKS))
    if unknown:
        parser.error(f"no benchmark called {', '.join(unknown)}; there are: {', '.join(BENCHMARKS)}")
    return arguments


def _measured_apart(name: str) -> "list[Figure]":
    """A benchmark in a process of its own, pinned or not, as it would be alone."""
    from bench.measuring import Figure  # noqa: PLC0415 -- the child chooses its cores before anything is imported

    command = [sys.executable, "-m", "bench", "-o", "json", name]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE)  # noqa: S603 -- ourselves
    return [Figure(one["name"], one["unit"], one["ours"], one["peers"]) for one in json.loads(done.stdout)]


def _pin_to_one_core() -> None:
    """Before anything is imported that counts the cores to size its thread pool."""
    if sys.platform == "linux":
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    give_back()  # as the uploader does: fresh memory is a fifth of what a chunk costs


def _measure(name: str) -> "list[Figure]":
    measure = cast("Callable[[], list[Figure]]", import_module(f"bench.{name}").measure)
    return measure()


def _table(figures: "Iterable[Figure]") -> list[str]:
    lines = [f"{'benchmark':<16} {'contender':<20} {'figure':>14} {'unit':<10} {'ours is':>8}"]
    for figure in figures:
        lines.append(f"{figure.name:<16} {'ours':<20} {figure.ours:>14,.0f} {figure.unit:<10}")
        lines += [
            f"{'':<16} {peer:<20} {value:>14,.0f} {figure.unit:<10} {figure.ratio[peer]:>7}x"
            for peer, value in figure.peers.items()
        ]
    return lines


if __name__ == "__main__":
    main()
