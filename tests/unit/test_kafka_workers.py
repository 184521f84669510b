"""Running handlers: bounded, in turn, and no record dropped whatever the handler does."""

import asyncio
import itertools
from collections.abc import Callable

import pytest
from aiokafka.structs import TopicPartition
from hypothesis import given
from hypothesis import strategies as st

from connector.kafka.consumer_facts import Completed, ConsumerFact, Defective, Held, Outcome, Stuck
from connector.kafka.record import Handler, OnDefect, PutAside, Record, leave_unfinished
from connector.kafka.workers import TURNS_BETWEEN_YIELDS, Backoff, Flight, HandlerCancelled, Workers

PARTITION = TopicPartition("t", 0)


def flight(offset: int, lane: str = "lane", value: bytes = b"value", *, early: bool = False, epoch: int = 1) -> Flight:
    """A record on its way."""
    record = Record("t", 0, offset, 0, lane.encode(), value, ())
    return Flight(record, PARTITION, epoch, lane, len(value), early)


async def refuse(_record: Record, error: Exception) -> None:
    """A defect handler for tests without defects."""
    raise AssertionError("no defect was expected") from error


async def unexpected(_record: Record) -> None:
    """Where no record is expected."""
    raise AssertionError("no record was to be put aside")


class Crew:
    """Workers, and what they told."""

    def __init__(
        self,
        handler: Handler,
        on_defect: OnDefect = refuse,
        *,
        lane_concurrency: int = 1,
        concurrency: int = 4,
        on_stuck: PutAside | None = None,
        put_back: PutAside | None = None,
    ) -> None:
        self.landed: list[int] = []
        self._actions: list[Callable[[], object]] = []
        self.facts: list[ConsumerFact] = []
        self.broken: list[BaseException] = []
        self.workers = Workers(
            handler=handler,
            on_defect=on_defect,
            landed=self._land,
            failed=self.broken.append,
            lane_concurrency=lane_concurrency,
            concurrency=concurrency,
            observer=self.facts.append,
            backoff=Backoff(first=0.001, cap=0.002),
            chance=lambda: 0.0,
            on_stuck=on_stuck,
            put_back=put_back,
        )

    def on_landing(self, action: Callable[[], object]) -> None:
        """Does *action* at the next landing."""
        self._actions.append(action)

    def _land(self, ended: Flight) -> None:
        self.landed.append(ended.record.offset)
        if self._actions:
            self._actions.pop()()

    def start(self, *flights: Flight) -> None:
        """Submits and dispatches."""
        for one in flights:
            self.workers.submit(one)
        self.workers.dispatch()

    def outcomes(self) -> list[Outcome]:
        """How the records ended."""
        return [fact.outcome for fact in self.facts if isinstance(fact, Completed)]

    def told(self, kind: type[ConsumerFact]) -> list[ConsumerFact]:
        """The facts of a kind."""
        return [fact for fact in self.facts if isinstance(fact, kind)]


class Gate:
    """A handler that waits until each record is let through."""

    def __init__(self) -> None:
        self.begun: list[int] = []
        self._events: dict[int, asyncio.Event] = {}
        self._changed = asyncio.Event()

    async def __call__(self, record: Record) -> None:
        """Handles *record*."""
        self.begun.append(record.offset)
        self._changed.set()
        await self._event(record.offset).wait()

    def let(self, *offsets: int) -> None:
        """Lets these end."""
        for offset in offsets:
            self._event(offset).set()

    async def begins(self, count: int) -> None:
        """Waits until so many were begun."""
        while len(self.begun) < count:
            self._changed.clear()
            await asyncio.wait_for(self._changed.wait(), 5)

    def _event(self, offset: int) -> asyncio.Event:
        return self._events.setdefault(offset, asyncio.Event())


async def settled(condition: Callable[[], bool]) -> None:
    """Lets the loop turn until *condition* holds."""
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 -- the condition is the crew's state, which has no event
            await asyncio.sleep(0)


class TestBounds:
    async def test_no_more_at_once_than_allowed(self) -> None:
        """Of ten lanes with one record each, three are in a handler."""
        gate = Gate()
        crew = Crew(gate, concurrency=3)
        crew.start(*(flight(n, f"lane {n}") for n in range(10)))
        await gate.begins(3)
        assert (3, 7) == (crew.workers.in_flight, crew.workers.waiting)
        gate.let(*range(10))
        await settled(lambda: len(crew.landed) == 10)
        assert (0, 0, 0) == (crew.workers.in_flight, crew.workers.waiting, crew.workers.size)

    async def test_a_slow_lane_leaves_the_others_their_places(self) -> None:
        """While its record is in the handler, all records of another lane pass."""
        gate = Gate()
        gate.let(2, 3, 4)
        crew = Crew(gate, concurrency=2)
        crew.start(flight(0, "slow"), flight(1, "slow"), *(flight(n, "quick") for n in (2, 3, 4)))
        await settled(lambda: len(crew.landed) == 3)
        assert [2, 3, 4] == crew.landed
        gate.let(0, 1)
        await settled(lambda: len(crew.landed) == 5)

    async def test_a_handler_that_never_waits_lets_the_loop_turn(self) -> None:
        """Others get their turn every few records: heartbeats must not wait for the end of the queue."""
        handled = 0
        seen: list[int] = []

        async def busy(_record: Record) -> None:
            nonlocal handled
            handled += 1

        async def other() -> None:
            while handled < 10 * TURNS_BETWEEN_YIELDS:
                seen.append(handled)
                await asyncio.sleep(0)

        crew = Crew(busy, concurrency=1)
        crew.start(*(flight(n) for n in range(10 * TURNS_BETWEEN_YIELDS)))
        await asyncio.wait_for(other(), 5)
        steps = [after - before for before, after in itertools.pairwise(seen)]
        assert max(steps) <= TURNS_BETWEEN_YIELDS

    async def test_handlers_that_wait_get_all_places_within_a_few_turns_of_the_loop(self) -> None:
        """Workers double, so that a hundred records are begun before anything else could matter."""
        gate = Gate()
        crew = Crew(gate, concurrency=64)
        crew.start(*(flight(n, f"lane {n}") for n in range(100)))
        for _ in range(9):
            await asyncio.sleep(0)
        assert (64, 36) == (crew.workers.in_flight, crew.workers.waiting)
        gate.let(*range(100))
        await settled(lambda: len(crew.landed) == 100)

    async def test_handlers_that_do_not_wait_are_served_by_few_workers(self) -> None:
        """A worker costs as much as a record: one that would find nothing left to do is not started."""
        served: set[asyncio.Task[None] | None] = set()

        async def quick(_record: Record) -> None:
            served.add(asyncio.current_task())

        crew = Crew(quick, concurrency=64)
        crew.start(*(flight(n, f"lane {n}") for n in range(3 * TURNS_BETWEEN_YIELDS)))
        await settled(lambda: len(crew.landed) == 3 * TURNS_BETWEEN_YIELDS)
        assert 3 >= len(served)

    async def test_a_line_that_stands_still_meanwhile_begins_no_more(self) -> None:
        """Also the workers that were to be started a turn later stay away until it goes on."""
        gate = Gate()
        crew = Crew(gate, concurrency=8)
        crew.start(*(flight(n, f"lane {n}") for n in range(8)))
        crew.workers.stand_still()
        for _ in range(9):
            await asyncio.sleep(0)
        assert [] == gate.begun
        crew.workers.go_on()
        await gate.begins(8)
        gate.let(*range(8))
        await settled(lambda: len(crew.landed) == 8)

    async def test_work_that_comes_as_the_last_worker_ends_is_begun(self) -> None:
        """At that moment the worker is over but its task is not yet done: it must not count as one that will serve."""

        async def fine(_record: Record) -> None:
            return

        crew = Crew(fine, concurrency=1)
        crew.on_landing(lambda: asyncio.get_running_loop().call_soon(crew.start, flight(1)))
        crew.start(flight(0))
        await settled(lambda: crew.landed == [0, 1])


class TestDefects:
    async def test_a_raising_handler_completes_after_the_defect_handler(self) -> None:
        """The record goes to the defect handler with its bytes and the error; then its offset is complete."""
        defects: list[tuple[bytes | None, str]] = []

        async def broken(_record: Record) -> None:
            raise ValueError("no")

        async def bury(record: Record, error: Exception) -> None:
            defects.append((record.value, repr(error)))

        crew = Crew(broken, bury)
        crew.start(flight(7, value=b"\x00poison"))
        await settled(lambda: crew.landed == [7])
        assert [(b"\x00poison", "ValueError('no')")] == defects
        assert [Defective, Completed] == [type(fact) for fact in crew.facts]

    async def test_a_raising_defect_handler_holds_the_record(self) -> None:
        """Until dead letters can be written the record stays in flight; nothing is skipped."""
        failures = iter([OSError("down"), OSError("down"), None])

        async def broken(_record: Record) -> None:
            raise ValueError("no")

        async def bury(_record: Record, _error: Exception) -> None:
            if (failure := next(failures)) is not None:
                raise failure

        crew = Crew(broken, bury)
        crew.start(flight(7))
        await settled(lambda: len(crew.told(Held)) == 1)
        assert [] == crew.landed
        assert crew.workers.in_flight == 1
        await settled(lambda: crew.landed == [7])
        assert [1, 2] == [fact.attempt for fact in crew.facts if isinstance(fact, Held)]

    async def test_a_cancellation_nobody_asked_for_is_a_defect(self) -> None:
        """A library that cancels within the handler must not make the record disappear without a word."""
        defects: list[type[Exception]] = []

        async def cancelled(_record: Record) -> None:
            raise asyncio.CancelledError

        async def bury(_record: Record, error: Exception) -> None:
            defects.append(type(error))

        crew = Crew(cancelled, bury)
        crew.start(flight(7))
        await settled(lambda: crew.landed == [7])
        assert [HandlerCancelled] == defects

    async def test_a_record_left_unfinished_leaves_the_others_their_turn(self) -> None:
        """It does not land and is no defect; what waits behind it is begun all the same."""

        async def leaving(record: Record) -> None:
            if record.offset == 0:
                await leave_unfinished()

        crew = Crew(leaving, concurrency=1)
        crew.start(flight(0), flight(1), flight(2, "other"))
        await settled(lambda: len(crew.landed) == 2)
        assert [1, 2] == sorted(crew.landed)
        assert [] == crew.told(Defective)

    async def test_a_worker_that_breaks_is_told(self) -> None:
        """An error in our own accounting ends the consumer instead of losing a worker silently."""

        async def fine(_record: Record) -> None:
            return

        def deaf(_fact: ConsumerFact) -> None:
            raise RuntimeError("observer")

        broken: list[BaseException] = []
        workers = Workers(
            handler=fine,
            on_defect=refuse,
            landed=lambda _: None,
            failed=broken.append,
            lane_concurrency=1,
            concurrency=1,
            observer=deaf,
            backoff=Backoff(),
            chance=lambda: 0.0,
        )
        workers.submit(flight(0))
        workers.dispatch()
        await settled(lambda: bool(broken))
        assert ["observer"] == [str(error) for error in broken]


class TestDraining:
    async def test_waits_for_what_is_in_flight_and_begins_nothing(self) -> None:
        """What waits is forgotten (it is read again), what runs comes to its end."""
        gate = Gate()
        crew = Crew(gate, concurrency=2)
        crew.start(flight(0, "a"), flight(1, "b"), flight(2, "a"), flight(3, "b"))
        await gate.begins(2)
        draining = asyncio.create_task(crew.workers.drain(5))
        gate.let(0, 1)
        drained = await draining
        assert (2, 0) == (drained.in_flight, drained.abandoned)
        assert [0, 1] == sorted(crew.landed)
        assert [0, 1] == sorted(gate.begun)
        assert (0, 0) == (crew.workers.in_flight, crew.workers.size)

    async def test_cancels_what_does_not_end_in_time(self) -> None:
        """A cancelled record does not land: its offset stays incomplete."""
        gate = Gate()
        crew = Crew(gate, concurrency=2)
        crew.start(flight(0, "a"), flight(1, "b"))
        await gate.begins(2)
        gate.let(1)
        drained = await crew.workers.drain(0.05)
        assert (2, 1) == (drained.in_flight, drained.abandoned)
        assert [1] == crew.landed
        assert [] == crew.broken

    async def test_goes_on_afterwards(self) -> None:
        """The same workers serve the next assignment."""
        gate = Gate()
        crew = Crew(gate)
        crew.start(flight(0))
        await gate.begins(1)
        await crew.workers.drain(0)
        gate.let(0, 1)
        crew.start(flight(1))
        await settled(lambda: crew.landed == [1])


class TestEvicting:
    async def test_the_handler_is_cancelled_then_the_record_is_put_aside_then_it_lands(self) -> None:
        """Its offset completes only after the other topic has it; the worker goes on with the next record."""
        gate = Gate()
        gate.let(1, 2)
        taken: list[int] = []
        written = asyncio.Event()

        async def postpone(record: Record) -> None:
            taken.append(record.offset)
            await written.wait()

        crew = Crew(gate, concurrency=1, on_stuck=postpone)
        crew.start(flight(0), flight(1), flight(2))
        await gate.begins(1)
        crew.workers.evict(1, 0)
        await settled(lambda: taken == [0])
        assert [] == crew.landed
        written.set()
        await settled(lambda: crew.landed == [0, 1, 2])
        assert [Outcome.EVICTED, Outcome.HANDLED, Outcome.HANDLED] == crew.outcomes()
        assert 1 == len(crew.told(Stuck))
        assert [] == crew.broken

    async def test_a_record_nobody_takes_is_held(self) -> None:
        """The delay topic cannot be written: the record keeps its place until it can, and is evicted once only."""
        failures = iter([OSError("down"), OSError("down"), None])

        async def postpone(_record: Record) -> None:
            if (failure := next(failures)) is not None:
                raise failure

        gate = Gate()
        crew = Crew(gate, on_stuck=postpone)
        crew.start(flight(0))
        await gate.begins(1)
        crew.workers.evict(1, 0)
        await settled(lambda: len(crew.told(Held)) == 1)
        assert ([], 1, None) == (crew.landed, crew.workers.in_flight, crew.workers.seconds_in_handler(1, 0))
        crew.workers.evict(1, 0)
        await settled(lambda: crew.landed == [0])
        assert (1, 2) == (len(crew.told(Stuck)), len(crew.told(Held)))

    async def test_a_handler_that_ends_all_the_same_is_not_put_aside(self) -> None:
        """It was about to end, or finished what must not be torn apart; the next record's handler is not cancelled."""
        gate = Gate()

        async def stubborn(record: Record) -> None:
            try:
                await gate(record)
            except asyncio.CancelledError:
                await asyncio.sleep(0)

        crew = Crew(stubborn, concurrency=1, on_stuck=unexpected)
        crew.start(flight(0), flight(1))
        await gate.begins(1)
        crew.workers.evict(1, 0)
        await gate.begins(2)
        gate.let(1)
        await settled(lambda: crew.landed == [0, 1])
        assert [Outcome.HANDLED, Outcome.HANDLED] == crew.outcomes()

    async def test_a_handler_that_breaks_when_cancelled_is_put_aside_not_buried(self) -> None:
        """What it raises then tells nothing about the record."""
        gate = Gate()
        taken: list[int] = []

        async def brittle(record: Record) -> None:
            try:
                await gate(record)
            except asyncio.CancelledError:
                raise RuntimeError("cleaning up") from None

        async def postpone(record: Record) -> None:
            taken.append(record.offset)

        crew = Crew(brittle, concurrency=1, on_stuck=postpone)
        crew.start(flight(0), flight(1))
        await gate.begins(1)
        crew.workers.evict(1, 0)
        await gate.begins(2)
        gate.let(1)
        await settled(lambda: crew.landed == [0, 1])
        assert [0] == taken

    async def test_draining_meanwhile_leaves_the_record_unfinished(self) -> None:
        """Evicted and cancelled for good in the same turn: it is not ours any more, nobody puts it aside."""
        gate = Gate()
        crew = Crew(gate, on_stuck=unexpected)
        crew.start(flight(0))
        await gate.begins(1)
        crew.workers.evict(1, 0)
        await crew.workers.cancel()
        assert ([], [], 0) == (crew.landed, crew.broken, crew.workers.in_flight)

    async def test_an_old_epochs_record_is_another_one(self) -> None:
        """The same offset of a later assignment is not evicted for the handler that was left behind."""
        gate = Gate()
        crew = Crew(gate, on_stuck=unexpected)
        crew.start(flight(0, epoch=2))
        await gate.begins(1)
        crew.workers.evict(1, 0)
        assert crew.workers.seconds_in_handler(1, 0) is None
        assert crew.workers.seconds_in_handler(2, 0) is not None
        gate.let(0)
        await settled(lambda: crew.landed == [0])

    async def test_without_a_place_to_put_it_nothing_is_cancelled(self) -> None:
        """A consumer that was given no way out lets its handlers be."""
        gate = Gate()
        crew = Crew(gate)
        crew.start(flight(0))
        await gate.begins(1)
        crew.workers.evict(1, 0)
        gate.let(0)
        await settled(lambda: crew.landed == [0])
        assert [] == crew.told(Stuck)


class TestEarly:
    async def test_an_early_record_is_put_back_and_not_handled(self) -> None:
        """It lands when the delay topic has it, and not before."""
        failures = iter([OSError("down"), None])
        taken: list[int] = []

        async def put_back(record: Record) -> None:
            if (failure := next(failures)) is not None:
                raise failure
            taken.append(record.offset)

        gate = Gate()
        gate.let(1)
        crew = Crew(gate, put_back=put_back)
        crew.start(flight(0, early=True), flight(1))
        await settled(lambda: crew.landed == [0, 1])
        assert ([0], [1]) == (taken, gate.begun)
        assert [Outcome.PUT_BACK, Outcome.HANDLED] == crew.outcomes()


class TestStandingStill:
    async def test_begins_nothing_until_it_goes_on(self) -> None:
        """What is in a handler ends; what waits, and what comes meanwhile, begins afterwards, in order."""
        gate = Gate()
        gate.let(1, 2, 3)
        crew = Crew(gate, concurrency=2)
        crew.start(flight(0), flight(1))
        await gate.begins(1)
        crew.workers.stand_still()
        crew.start(flight(2, "other"))
        gate.let(0)
        await settled(lambda: crew.landed == [0])
        crew.start(flight(3))
        for _ in range(10):
            await asyncio.sleep(0)
        assert ([0], 3) == (gate.begun, crew.workers.waiting)
        crew.workers.go_on()
        await settled(lambda: len(crew.landed) == 4)
        assert [1, 3] == [offset for offset in gate.begun if offset in {1, 3}]

    async def test_can_be_drained(self) -> None:
        """A line that stands still stops like any other."""
        gate = Gate()
        crew = Crew(gate)
        crew.workers.stand_still()
        crew.start(flight(0))
        assert 0 == (await crew.workers.drain(5)).in_flight
        assert (0, 0) == (crew.workers.waiting, crew.workers.size)


class TestBackoff:
    @given(attempt=st.integers(1, 10_000), chance=st.floats(0, 1, exclude_max=True))
    def test_stays_within_its_bounds(self, attempt: int, chance: float) -> None:
        """From half the first wait to the cap, however long it goes on."""
        assert 0.25 <= Backoff(first=0.5, cap=30).after(attempt, chance) <= 30

    @pytest.mark.parametrize(("attempt", "seconds"), [(1, 0.5), (2, 1.0), (3, 2.0), (7, 30.0)])
    def test_doubles_up_to_the_cap(self, attempt: int, seconds: float) -> None:
        """Without luck each wait is twice the one before."""
        assert seconds == pytest.approx(Backoff(first=0.5, cap=30).after(attempt, 1.0))
