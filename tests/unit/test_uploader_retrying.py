"""Whether to try again, and where the chunk waits: bounds hold for all numbers, every kind of trouble its own way."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.kafka.headers import Past
from services.uploader.endings import Again
from services.uploader.patience import Patience
from services.uploader.retrying import (
    GiveUp,
    InMemory,
    RetryPolicy,
    Tier,
    ToTier,
    after_failure,
    backoff,
    may_stay,
    to_tier,
)
from services.uploader.room import RETURNS, WaitingRoom
from services.uploader.settings import RetrySettings

HOUR = 3_600.0
TIERS = (Tier("30s", 30), Tier("5m", 300), Tier("30m", 1_800), Tier("2h", 7_200))
POLICY = RetryPolicy(short=(0.5, 2.0), tiers=TIERS, attempts=6, seconds=3 * HOUR, memory=30)
TROUBLE = Again("service_unavailable", "2", "words")
UNKNOWN = Again("unknown_answer", "987654", "words", unknown=True)
BEGAN = 1_000_000.0

chances = st.floats(0, 1, exclude_max=True)


class TestBackoff:
    @given(attempt=st.integers(1, 10_000), chance=chances)
    def test_pauses_are_spread_over_the_upper_half_and_capped(self, attempt: int, chance: float) -> None:
        """A thousand chunks that failed together do not come back together, and nobody waits longer than the cap."""
        ceiling = min(20, 0.5 * 2 ** min(attempt - 1, 20))

        assert ceiling / 2 <= backoff(0.5, 20, attempt, chance) <= ceiling


class TestAfterFailure:
    def test_short_first_then_through_the_tiers(self) -> None:
        """Two short retries in memory, each tier once, then the longest one as often as it takes."""
        decisions = [
            after_failure(POLICY, attempt=attempt, first_failure_at=BEGAN, now=BEGAN, chance=0)
            for attempt in range(1, 9)
        ]

        assert [InMemory(0.25), InMemory(1.0)] == decisions[:2]
        assert ["30s", "5m", "30m", "2h", "2h", "2h"] == [
            one.tier.name for one in decisions[2:] if isinstance(one, ToTier)
        ]

    def test_the_settings_say_the_same(self) -> None:
        """The defaults are the policy of the design."""
        assert POLICY == RetrySettings().policy()

    @given(attempt=st.integers(1, 100), elapsed=st.floats(0, 1e6), chance=chances, asked=st.floats(0, 1e6))
    def test_given_up_only_when_both_are_spent(self, attempt: int, elapsed: float, chance: float, asked: float) -> None:
        """At least six attempts and at least three hours; then at once."""
        decision = after_failure(
            POLICY, attempt=attempt, first_failure_at=0, now=elapsed, chance=chance, not_before=asked
        )

        assert (attempt >= 6 and elapsed >= 3 * HOUR) == isinstance(decision, GiveUp)

    @given(attempt=st.integers(1, 5), asked=st.floats(0, 1e6), chance=chances, pace=st.sampled_from(["usual", "slow"]))
    def test_what_was_asked_for_is_kept(self, attempt: int, asked: float, chance: float, pace: str) -> None:
        """Retry-After outweighs a shorter pause of ours; nothing over 30 s is waited for in memory."""
        match after_failure(
            POLICY, attempt=attempt, first_failure_at=0, now=0, chance=chance, not_before=asked, slow=pace == "slow"
        ):
            case InMemory(seconds):
                assert pace == "usual"
                assert asked <= seconds <= 30
            case ToTier(tier, due_at):
                assert min(asked, 7_200) <= due_at <= tier.seconds
            case GiveUp():
                raise AssertionError

    def test_slow_is_not_soon(self) -> None:
        """What nobody knows is not hammered: five minutes."""
        decision = after_failure(POLICY, attempt=1, first_failure_at=0, now=0, chance=0, slow=True)

        assert ToTier(TIERS[1], 300) == decision

    def test_a_transient_hour_takes_the_promised_time(self) -> None:
        """An outage that never ends: given up after more than three hours and eight attempts, none of them idle."""
        now, attempt = BEGAN, 1
        while True:
            decision = after_failure(POLICY, attempt=attempt, first_failure_at=BEGAN, now=now, chance=0.5)
            if isinstance(decision, GiveUp):
                break
            now = decision.due_at if isinstance(decision, ToTier) else now + decision.seconds
            attempt += 1

        assert 8 == attempt
        assert 3 * HOUR <= now - BEGAN <= 5 * HOUR


class TestTurns:
    @given(seconds=st.floats(0.001, 1e6), waited=st.floats(0, 1e3), room=st.booleans(), paused=st.booleans())
    def test_nobody_waits_in_memory_for_longer_than_the_bound(
        self, seconds: float, waited: float, *, room: bool, paused: bool
    ) -> None:
        """Not at once and not bit by bit: chunks of a few slow accounts would hold the handlers of all."""
        if may_stay(POLICY, seconds, waited=waited, room=room, paused=paused):
            assert waited + seconds <= 30

    @pytest.mark.parametrize(
        ("seconds", "room", "paused", "stays"),
        [
            (30.0, True, True, True),
            (30.1, True, True, False),
            (29.0, True, False, True),
            (29.0, False, False, False),
            (1.0, False, True, False),
            (1.0, False, False, True),
        ],
        ids=["short pause", "long pause", "slow", "slow and crowded", "crowded in a pause", "crowded for a moment"],
    )
    def test_who_stays(self, seconds: float, *, room: bool, paused: bool, stays: bool) -> None:
        """A short pause by few, a moment of the account's own pace by all of its lane."""
        assert stays == may_stay(POLICY, seconds, waited=0, room=room, paused=paused)

    @given(seconds=st.floats(0.001, 1e6), now=st.floats(0, 2e9))
    def test_the_tier_is_long_enough(self, seconds: float, now: float) -> None:
        """The smallest that is, due within its own delay."""
        to = to_tier(POLICY, seconds, now)

        assert now <= to.due_at <= now + to.tier.seconds
        assert to.tier is next((one for one in TIERS if one.seconds >= seconds), TIERS[-1])

    def test_they_come_back_one_after_another(self) -> None:
        """A thousand chunks of a paused account would otherwise be sent away a thousand times more."""
        room = WaitingRoom(4)

        backs = [room.sent_away("act_1", 100, now=0) for _ in range(1_000)]

        assert (100, 100 + 999 / RETURNS) == (backs[0], backs[-1])
        assert {1 / RETURNS} == {after - before for before, after in pairwise(backs)}
        assert 100 == room.sent_away("act_2", 100, now=0)
        assert 5 == room.sent_away("act_1", 5, now=1_000)


class TestPatience:
    def test_attempts_count_on_over_hops(self) -> None:
        """What failed four times before it came here fails for the fifth time, and its clock began then."""
        patience = Patience(POLICY, Past(4, 1_000_000, "transient"))

        decision = patience.failed(TROUBLE, now=1_200.0, chance=0)

        assert ToTier(TIERS[2], 3_000.0) == decision
        assert (5, 1_000.0) == (patience.spent, patience.first_failure_at)

    def test_the_last_hop_ends_it(self) -> None:
        """The sixth failure, three hours after the first."""
        patience = Patience(POLICY, Past(5, 0, "transient"))

        assert isinstance(patience.failed(TROUBLE, now=3 * HOUR, chance=0), GiveUp)

    def test_time_counts_from_the_first_failure(self) -> None:
        """A chunk that waited for its turn or was throttled has all its patience when its first attempt fails."""
        patience = Patience(POLICY, Past(0, None, "throttled"))

        assert isinstance(patience.failed(TROUBLE, now=1e9, chance=0), InMemory)
        assert 1e9 == patience.first_failure_at

    def test_an_unknown_answer_gets_one_slow_attempt(self) -> None:
        """Once more, from a tier; the second time it is given up, though attempts are left."""
        assert ToTier(TIERS[1], 300) == Patience(POLICY, Past()).failed(UNKNOWN, now=0, chance=0)
        again = Patience(POLICY, Past(1, 0, "unknown"))

        assert isinstance(again.failed(UNKNOWN, now=5, chance=0), GiveUp)

    def test_an_unknown_answer_late_still_gets_its_attempt(self) -> None:
        """Passing trouble before it does not use up its one attempt."""
        patience = Patience(POLICY, Past(3, 0, "transient"))

        assert isinstance(patience.failed(UNKNOWN, now=1, chance=0), ToTier)
