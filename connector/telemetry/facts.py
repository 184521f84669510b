"""Facts: what happened, as frozen dataclasses. Emitting one writes the log line and moves the metrics it names.

A service declares its facts in its own `facts.py`:

    @dataclass(frozen=True)
    class ChunkDelivered(Fact):
        name = "chunk.delivered"
        measures = (Measure("fbc_records_total", "records by outcome", labels=("operation",), value="records"),)
        operation: str
        records: int
        chunk_id: str

Labels are bounded enumerations: no ids, no messages (they belong in the log line, not in a time series).
"""

import dataclasses
import logging
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)


@dataclass(frozen=True)
class Measure:
    """A metric a fact moves: its Prometheus *name* and *help*, *labels* and *value* name fields of the fact.

    Without *value* the metric moves by 1. Kinds: a counter adds, a gauge is set, a histogram (seconds) observes.
    """

    name: str
    help: str
    labels: tuple[str, ...] = ()
    value: str | None = None
    kind: Literal["counter", "gauge", "histogram"] = "counter"


@dataclass(frozen=True)
class Fact:
    """Base of all facts. Level by consequence: info = changed, warning = recovered, error = a person is needed."""

    name: ClassVar[str]
    level: ClassVar[int] = logging.INFO
    measures: ClassVar[tuple[Measure, ...]] = ()

    def fields(self) -> dict[str, Any]:
        """What the log line shows beside the name; None is left out."""
        return {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if getattr(self, field.name) is not None
        }


class Telemetry:
    """Where facts go: one logger and one metrics registry per process, handed to whoever emits."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry if registry is not None else CollectorRegistry()
        self._log = structlog.get_logger()
        self._metrics: dict[str, Counter | Gauge | Histogram] = {}

    def emit(self, fact: Fact) -> None:
        """Writes the fact's log line and moves its metrics."""
        for measure in fact.measures:
            self._move(measure, fact)
        self._log.log(fact.level, fact.name, **fact.fields())

    def _move(self, measure: Measure, fact: Fact) -> None:
        amount = 1.0 if measure.value is None else float(getattr(fact, measure.value) or 0.0)
        metric: Any = self._metric(measure)
        if measure.labels:
            metric = metric.labels(*(str(getattr(fact, label)) for label in measure.labels))
        match measure.kind:
            case "counter":
                metric.inc(amount)
            case "gauge":
                metric.set(amount)
            case "histogram":
                metric.observe(amount)

    def _metric(self, measure: Measure) -> Counter | Gauge | Histogram:
        if measure.name not in self._metrics:
            self._metrics[measure.name] = self._new(measure)
        return self._metrics[measure.name]

    def _new(self, measure: Measure) -> Counter | Gauge | Histogram:
        match measure.kind:
            case "counter":
                return Counter(measure.name, measure.help, measure.labels, registry=self.registry)
            case "gauge":
                return Gauge(measure.name, measure.help, measure.labels, registry=self.registry)
            case "histogram":
                return Histogram(measure.name, measure.help, measure.labels, registry=self.registry, buckets=SECONDS)
