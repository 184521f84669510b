"""Back-pressure: stops at the high mark, goes on only at the low one."""

from connector.kafka.pressure import Load, Marks, Pressure, Watermarks

MARKS = Watermarks(partition=Marks(10, 4), records=Marks(25, 12), size=Marks(1_000, 500), spread=Marks(100, 60))


def loads(**records: int) -> dict[str, Load]:
    """Partitions with so many records held, and no spread."""
    return {name: Load(count, 0) for name, count in records.items()}


class TestPartition:
    def test_stops_at_the_high_mark_and_goes_on_at_the_low(self) -> None:
        """In between it stays as it was, so that a partition is not stopped and started around one number."""
        pressure: Pressure[str] = Pressure(MARKS)
        steps = [9, 10, 5, 4, 9]
        expected = [False, True, True, False, False]
        assert expected == ["a" in pressure.update(loads(a=held, b=1), size=0) for held in steps]

    def test_does_not_stop_the_others(self) -> None:
        """One partition that is slow leaves the others' room alone."""
        assert frozenset({"a"}) == Pressure[str](MARKS).update(loads(a=10, b=9), size=0)

    def test_stops_before_finished_offsets_leave_the_window(self) -> None:
        """Few records far apart fill the bitmap as many near ones do."""
        pressure: Pressure[str] = Pressure(MARKS)
        spreads = [99, 100, 61, 60]
        assert [False, True, True, False] == [
            "a" in pressure.update({"a": Load(1, spread)}, size=0) for spread in spreads
        ]

    def test_a_partition_that_left_is_forgotten(self) -> None:
        """When it comes back it starts unblocked, below its high mark."""
        pressure: Pressure[str] = Pressure(MARKS)
        pressure.update(loads(a=10), size=0)
        pressure.update(loads(b=0), size=0)
        assert frozenset() == pressure.update(loads(a=9), size=0)


class TestTotal:
    def test_stops_all_when_many_records_are_held(self) -> None:
        """No partition is full, all together are."""
        pressure: Pressure[str] = Pressure(MARKS)
        assert frozenset("abc") == pressure.update(loads(a=9, b=9, c=7), size=0)
        assert frozenset("abc") == pressure.update(loads(a=5, b=5, c=3), size=0)
        assert frozenset() == pressure.update(loads(a=4, b=4, c=4), size=0)

    def test_stops_all_when_many_bytes_are_held(self) -> None:
        """A few large records weigh as much as many small ones."""
        pressure: Pressure[str] = Pressure(MARKS)
        assert [False, True, True, False] == [
            bool(pressure.update(loads(a=1), size=size)) for size in (999, 1_000, 501, 500)
        ]
