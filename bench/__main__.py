"""`python -m bench [NAME...] -o json|table`: every benchmark, or the named ones, on one core."""

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterable
from importlib import import_module
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from bench.measuring import Figure

BENCHMARKS = ("request_body", "customers_body", "two_workers", "consumer")
"""Modules of this package with a `measure()`."""


def main() -> None:
    """Runs and prints."""
    arguments = _arguments()
    _pin_to_one_core()
    figures = [figure for name in arguments.names or BENCHMARKS for figure in _measure(name)]
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


def _pin_to_one_core() -> None:
    """All figures are per core. Before anything is imported that counts the cores to size its thread pool."""
    if sys.platform == "linux":
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    os.environ["POLARS_MAX_THREADS"] = "1"


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
