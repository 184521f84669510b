"""A histogram and a counter that are moved for every record: a tenth of the cost of the library's, which lock.

One thread moves them (the event loop's), whoever scrapes reads them: a scrape in between sees one observation half,
once.
"""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import accumulate

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector


class Counts:
    """How many observations fell into each bucket, and their sum."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = tuple(bounds)
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        """Counts *value*."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def samples(self) -> tuple[list[tuple[str, float]], float]:
        """The cumulated buckets and the sum, as a scrape wants them."""
        names = [*map(str, self._bounds), "+Inf"]
        return list(zip(names, map(float, accumulate(self._counts)), strict=True)), self._sum


class Tally(Collector):
    """A histogram with one label; its children are `Counts`."""

    def __init__(
        self, name: str, about: str, label: str, *, registry: CollectorRegistry, buckets: Sequence[float]
    ) -> None:
        self._name, self._about, self._label, self._buckets = name, about, label, buckets
        self._children: dict[str, Counts] = {}
        registry.register(self)

    def labels(self, value: str) -> Counts:
        """The child of that label, made when it is asked for first."""
        return self._children.setdefault(value, Counts(self._buckets))

    def collect(self) -> Iterable[Metric]:  # type: ignore[explicit-override]  # typing.override needs Python 3.12
        """For a scrape."""
        family = HistogramMetricFamily(self._name, self._about, labels=[self._label])
        for value, counts in self._children.items():
            buckets, total = counts.samples()
            family.add_metric([value], buckets, total)
        yield family


class Total:
    """A number that only grows."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0

    def add(self) -> None:
        """Counts one more."""
        self.value += 1


class Totals(Collector):
    """A counter with labels; its children are `Total`s."""

    def __init__(self, name: str, about: str, labels: Sequence[str], *, registry: CollectorRegistry) -> None:
        self._name, self._about, self._labels = name, about, tuple(labels)
        self._children: dict[tuple[str, ...], Total] = {}
        registry.register(self)

    def labels(self, *values: str) -> Total:
        """The child of those labels, made when it is asked for first."""
        return self._children.setdefault(values, Total())

    def collect(self) -> Iterable[Metric]:  # type: ignore[explicit-override]  # typing.override needs Python 3.12
        """For a scrape."""
        family = CounterMetricFamily(self._name, self._about, labels=self._labels)
        for values, total in self._children.items():
            family.add_metric(values, total.value)
        yield family
