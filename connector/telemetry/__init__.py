"""One type per operational fact; it knows its log line and its metrics. Business code emits the fact, nothing else."""

from connector.telemetry.facts import Fact, Measure, Telemetry

__all__ = ["Fact", "Measure", "Telemetry"]
