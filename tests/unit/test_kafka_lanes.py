"""Lanes: order within a key, turns between keys, bounds kept."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from connector.kafka.lanes import Lanes


def filled(concurrency: int, *names: str) -> Lanes[str]:
    """Lanes with an item per name, numbered within its lane: a1, a2, b1."""
    lanes: Lanes[str] = Lanes(concurrency)
    counts: Counter[str] = Counter()
    for name in names:
        counts[name] += 1
        lanes.put(name, f"{name}{counts[name]}")
    return lanes


def take_all(lanes: Lanes[str]) -> list[str]:
    """Everything that may be taken without anything being done."""
    taken = []
    while (item := lanes.take()) is not None:
        taken.append(item)
    return taken


class TestOrder:
    def test_a_lane_of_one_at_a_time_is_strictly_in_order(self) -> None:
        """The second item of a key is not begun before the first is done."""
        lanes = filled(1, "a", "a")
        assert ["a1"] == take_all(lanes)
        lanes.done("a")
        assert ["a2"] == take_all(lanes)

    def test_a_wide_lane_begins_in_order(self) -> None:
        """Two at once: the first two."""
        assert ["a1", "a2"] == take_all(filled(2, "a", "a", "a"))

    def test_a_wide_lane_never_runs_more_than_its_share(self) -> None:
        """A place that becomes free beside another free one is one place, not two turns."""
        lanes = filled(2, "a", "a", "a", "a")
        lanes.take()
        lanes.done("a")
        assert ["a2", "a3"] == take_all(lanes)


class TestFairness:
    def test_lanes_take_turns(self) -> None:
        """A long lane does not make a short one wait for its end."""
        assert ["a1", "b1", "a2", "b2", "a3", "a4"] == take_all(filled(9, "a", "a", "a", "a", "b", "b"))

    def test_a_busy_lane_does_not_block_others(self) -> None:
        """Its items wait; the others' are begun."""
        lanes = filled(1, "slow", "slow", "slow", "quick", "quick")
        assert ["slow1", "quick1"] == take_all(lanes)
        lanes.done("quick")
        assert ["quick2"] == take_all(lanes)
        assert repr(lanes) == "<Lanes slow: 1+2, quick: 1+0>"


class TestClearing:
    def test_forgets_what_waits_and_keeps_what_runs(self) -> None:
        """What runs still counts against its lane until it is done."""
        lanes = filled(1, "a", "a", "b")
        lanes.take()
        assert ["a2", "b1"] == lanes.clear()
        lanes.put("a", "new")
        assert lanes.take() is None
        lanes.done("a")
        assert ["new"] == take_all(lanes)

    def test_an_empty_lane_costs_nothing(self) -> None:
        """Keys come and go; nothing of a key remains after its last item."""
        lanes = filled(2, "a")
        lanes.take()
        lanes.done("a")
        assert repr(lanes) == "<Lanes >"


class TestFigures:
    @given(
        concurrency=st.integers(1, 3),
        steps=st.lists(st.one_of(st.sampled_from(["put a", "put b", "put c", "take", "clear"]), st.integers(0, 5))),
    )
    def test_agree_with_counting(self, concurrency: int, steps: list[str | int]) -> None:
        """At any time: waiting and runnable are what counting lane by lane gives, no lane runs more than its share."""
        lanes: Lanes[str] = Lanes(concurrency)
        waiting: Counter[str] = Counter()
        running: list[str] = []
        for step in steps:
            if isinstance(step, int):
                if running:
                    lanes.done(running.pop(step % len(running)))
            elif step == "take":
                taken = lanes.take()
                if taken is not None:
                    running.append(taken)
                    waiting[taken] -= 1
            elif step == "clear":
                assert sorted(waiting.elements()) == sorted(lanes.clear())
                waiting.clear()
            else:
                name = step[-1]
                lanes.put(name, name)
                waiting[name] += 1
            free = {name: concurrency - running.count(name) for name in "abc"}
            assert min(free.values()) >= 0
            assert waiting.total() == lanes.waiting
            assert sum(min(free[name], waiting[name]) for name in "abc") == lanes.runnable
        expected = lanes.runnable
        assert expected == len(take_all(lanes))
