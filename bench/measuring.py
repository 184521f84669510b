"""How a figure is made: the contenders take turns, so that a noisy minute hits all of them, and the median counts."""

import gc
from collections.abc import Callable, Mapping
from dataclasses import dataclass
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
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(rounds + 1):
        for name, run in contenders.items():
            gc.collect()
            start = perf_counter()
            run()
            if turn:
                times[name].append(perf_counter() - start)
    return {name: median(taken) for name, taken in times.items()}
