"""How a figure is made: the contenders take turns, so that a noisy minute hits all of them, and the median counts."""

import gc
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from statistics import median
from time import perf_counter


@dataclass(frozen=True)
class Figure:
    """One line of the table. `ratio` says how many times a peer's figure ours is."""

    name: str
    unit: str
    ours: float
    peers: Mapping[str, float]

    @property
    def ratio(self) -> dict[str, float]:
        """Ours divided by each peer's."""
        return {peer: round(self.ours / figure, 2) for peer, figure in self.peers.items()}

    def as_json(self) -> dict[str, object]:
        """The shape scripts rely on."""
        peers = {peer: round(figure, 1) for peer, figure in self.peers.items()}
        return {"name": self.name, "unit": self.unit, "ours": round(self.ours, 1), "peers": peers, "ratio": self.ratio}


def seconds(contenders: Mapping[str, Callable[[], object]], *, rounds: int) -> dict[str, float]:
    """The median of each contender's times over *rounds* interleaved runs; one run before them is not counted."""
    return told({name: partial(_timed, run) for name, run in contenders.items()}, rounds=rounds)


def told(contenders: Mapping[str, Callable[[], float]], *, rounds: int) -> dict[str, float]:
    """The same for contenders that tell their time themselves, because not all they do counts."""
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(rounds + 1):
        for name, run in contenders.items():
            gc.collect()
            taken = run()
            if turn:
                times[name].append(taken)
    return {name: median(taken) for name, taken in times.items()}


def _timed(run: Callable[[], object]) -> float:
    start = perf_counter()
    run()
    return perf_counter() - start
