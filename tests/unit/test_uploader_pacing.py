"""How much of a budget is used, and that it is never touched: hours against the emulator's model, in virtual time."""

import random

import pytest

from services.uploader.pacing import Gauge, History
from services.uploader.settings import RetrySettings
from tests.unit.governor_simulation import HOUR, Simulation
from tests.unit.turns_simulation import Backlog

A, B = "act_1001", "act_1002"
ENOUGH = 0.95


class TestAnHoursBudget:
    @pytest.mark.parametrize("latency", [0.2, 1.0, 5.0])
    @pytest.mark.parametrize("budget", [300, 600, 5_040])
    def test_is_used_every_hour_and_never_exceeded(self, budget: int, latency: float) -> None:
        """With more to send than allowed, from nothing known: 95 % in the first hour and in each that follows."""
        simulation = Simulation({A: budget}, latency=latency)

        simulation.run(3 * HOUR)

        assert not simulation.throttles
        for hour in range(3):
            assert ENOUGH <= simulation.share(A, hour, budget) <= 1

    def test_of_a_full_access_account_is_used_as_fast_as_meta_takes_calls(self) -> None:
        """190,000 calls an hour (the Full tier): 95 % are gone before 40 minutes are, at 90 calls a second at most."""
        simulation = Simulation({A: 190_000}, at_once=256)

        simulation.run(2_200)

        assert not simulation.throttles
        assert ENOUGH <= simulation.share(A, 0, 190_000) <= 1

    def test_as_small_as_a_score_is_used_to_the_last_but_one(self) -> None:
        """Twenty calls (60 points, three a call): every call is five percent."""
        simulation = Simulation({A: 20})

        simulation.run(3 * HOUR)

        assert not simulation.throttles
        assert 19 <= min(simulation.calls[A, hour] for hour in range(3))

    @pytest.mark.parametrize("latency", [0.3, 3.0])
    @pytest.mark.parametrize("budget", [600, 5_040])
    def test_is_shared_with_who_uses_half_of_it(self, budget: int, latency: float) -> None:
        """Another client of the account, not of ours, calls evenly: together it is 95 % and no more than all."""
        simulation = Simulation({A: budget}, latency=latency)
        simulation.run(0)
        simulation.now = -float(HOUR)
        simulation.other_client(A, budget / 2, -HOUR, 3 * HOUR)

        used = []
        for _ in range(4 * 60):
            simulation.run(60)
            used.append(simulation.meta.used(A, simulation.now))

        assert not simulation.throttles
        assert max(used) <= 1
        assert sum(used[75:]) / len(used[75:]) >= ENOUGH

    @pytest.mark.parametrize("seed", [1, 2, 3])
    @pytest.mark.parametrize("budget", [600, 5_040])
    def test_survives_that_all_knowledge_of_it_is_lost(self, budget: int, seed: int) -> None:
        """Six restarts at random moments: what was called before is found out without touching the budget."""
        simulation, moments = Simulation({A: budget}, seed=seed), random.Random(seed)
        for _ in range(6):
            simulation.run(moments.randrange(100, 4_000))
            simulation.restart()
        simulation.run(HOUR)
        hours = int(simulation.now // HOUR)

        assert not simulation.throttles
        assert ENOUGH <= sum(simulation.share(A, hour, budget) for hour in range(hours)) / hours <= 1.01

    @pytest.mark.parametrize("jump", [-7_200.0, -30.0, 30.0, 86_400.0])
    def test_is_not_lost_when_the_clock_jumps(self, jump: float) -> None:
        """A suspended machine wakes up, or a clock is set back: calls go on, and no account stands still for it."""
        simulation = Simulation({A: 600})
        simulation.run(HOUR / 2)

        simulation.skipped = jump
        simulation.run(2 * HOUR)

        assert simulation.throttles.total() <= (1 if jump > HOUR else 0)
        assert simulation.share(A, 1, 600) >= 0.9

    def test_of_one_account_is_no_matter_of_another(self) -> None:
        """An account that is throttled at every call costs its neighbour nothing."""
        alone, beside = Simulation({B: 5_040}), Simulation({A: 5_040, B: 5_040}, refuses=frozenset({A}))

        alone.run(HOUR)
        beside.run(HOUR)

        assert beside.throttles[A] > 1
        assert 0 == beside.throttles[B]
        assert beside.share(B, 0, 5_040) >= 0.9 * alone.share(B, 0, 5_040)

    def test_is_hardly_called_while_every_call_is_throttled(self) -> None:
        """Calls made while blocked lengthen the block: five in the first hour, however many wait."""
        simulation = Simulation({A: 5_040}, refuses=frozenset({A}))

        simulation.run(HOUR)

        assert simulation.calls[A, 0] <= 5


class TestABacklog:
    @pytest.mark.parametrize("budget", [20, 300, 600, 5_040])
    def test_waits_elsewhere_and_is_back_in_time(self, budget: int) -> None:
        """Three hours' worth of chunks: none holds a handler for long, none goes to and fro, no hour is left unused."""
        chunks = 3 * budget
        backlog = Backlog(A, budget, chunks, RetrySettings().policy())

        backlog.run(3 * HOUR)

        assert [True] * 3 == [0.95 <= backlog.share(A, hour, budget) <= 1 for hour in range(3)]
        assert (0, True) == (backlog.throttles[A], backlog.longest <= 30)
        assert sum(backlog.away) <= 5 * chunks


class TestWhatAPercentIs:
    @staticmethod
    def told(*readings: tuple[float, int]) -> Gauge:
        """A gauge that heard so many percent after so many calls, a second apart."""
        gauge, history = Gauge(), History()
        for second, (percent, calls) in enumerate(readings):
            while history.begun < calls:
                history.add(float(second))
            gauge.heard(percent, calls, float(second), history)
        return gauge

    def test_calls_that_move_nothing_cost_less_than_a_percent(self) -> None:
        """A reading is rounded: a hundred calls that did not move it are a bound, not a measurement."""
        gauge = self.told((3, 1), (3, 101))

        assert (100, False) == (gauge.per_percent, gauge.measured)

    def test_a_few_percent_within_minutes_are_a_measurement(self) -> None:
        """Ten percent and sixty calls: six calls each."""
        gauge = self.told((3, 1), (13, 61))

        assert (6, True) == (gauge.per_percent, gauge.measured)

    def test_a_percent_that_turns_out_dearer_is_believed_at_once(self) -> None:
        """Somebody else began to call: what we measured is no longer true, and caution does not wait."""
        gauge = self.told((3, 1), (13, 61), (23, 121), (25, 122))

        assert gauge.per_percent <= 1

    def test_an_older_answer_changes_nothing(self) -> None:
        """Answers overtake each other."""
        gauge, history = Gauge(), History()
        for _ in range(5):
            history.add(0)
        gauge.heard(50, 5, 1, history)

        gauge.heard(40, 3, 2, history)

        assert 50 == gauge.percent


class TestHistory:
    def test_calls_leave_after_an_hour_and_memory_stays_small(self) -> None:
        """A call a second for a day is some sixty numbers."""
        history = History()
        for second in range(86_400):
            history.add(second)

        assert len(history.minutes) <= 64
        assert HOUR <= history.begun - history.gone(86_399, HOUR) <= HOUR + 60
