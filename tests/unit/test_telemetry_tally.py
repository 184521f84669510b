"""The histogram that is moved for every record says what the library's would."""

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram, generate_latest

from connector.telemetry.tally import Tally

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

        expected = [line for line in generate_latest(theirs).splitlines() if b"_created" not in line]
        assert expected == generate_latest(ours).splitlines()
