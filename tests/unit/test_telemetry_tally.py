"""The histogram and the counter that are moved for every record say what the library's would."""

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

from connector.telemetry.tally import Tally, Totals

BOUNDS = (0.5, 1.0, 5.0)


class TestTally:
    @given(values=st.lists(st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0, 2.0, 5.0, 5.5, 1e9]), max_size=30))
    def test_a_scrape_reads_what_the_library_would_say(self, values: list[float]) -> None:
        """Buckets (their bounds included), count and sum; only the library's `_created` is missing."""
        ours, theirs = CollectorRegistry(), CollectorRegistry()
        tally = Tally("seconds", "how long", "group", registry=ours, buckets=BOUNDS).labels("g")
        histogram = Histogram("seconds", "how long", ["group"], registry=theirs, buckets=BOUNDS).labels("g")

        for value in values:
            tally.observe(value)
            histogram.observe(value)

        assert lines(theirs) == lines(ours)


class TestTotals:
    @given(moved=st.lists(st.sampled_from(["handled", "buried"]), max_size=20))
    def test_a_scrape_reads_what_the_library_would_say(self, moved: list[str]) -> None:
        """A value per combination of labels, from the moment one is asked for."""
        ours, theirs = CollectorRegistry(), CollectorRegistry()
        totals = Totals("ended_total", "how many", ("group", "outcome"), registry=ours)
        counter = Counter("ended_total", "how many", ("group", "outcome"), registry=theirs)
        totals.labels("g", "handled")
        counter.labels("g", "handled")

        for outcome in moved:
            totals.labels("g", outcome).add()
            counter.labels("g", outcome).inc()

        assert lines(theirs) == lines(ours)


def lines(registry: CollectorRegistry) -> list[bytes]:
    """What is scraped, without the times of creation that only the library tells."""
    return [line for line in generate_latest(registry).splitlines() if b"_created" not in line]
