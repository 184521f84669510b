"""When an account may be called: pauses, concurrency, and who pays for whom. Time is a number here."""

import json
import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from connector.graph.usage import BusinessUse, Usage, usage
from connector.graph.verdicts import Throttled, ThrottleScope
from services.uploader.governor import (
    FIRST_CONCURRENCY,
    MAX_PAUSE,
    MOST_CONCURRENCY,
    SPREAD,
    Admitted,
    Because,
    Governor,
    Wait,
)

A, B = "act_1", "act_2"
ACCOUNT = Throttled(ThrottleScope.ACCOUNT, 100.0, stated=True)
APP = Throttled(ThrottleScope.APP, 60.0, stated=True)


def admitted(governor: Governor, account: str = A, now: float = 0) -> Admitted:
    """A place that is expected to be given."""
    place = governor.admit(account, now)
    assert isinstance(place, Admitted)
    return place


def called(governor: Governor, account: str = A, now: float = 0, said: Usage | None = None) -> Admitted:
    """A call that is over."""
    place = admitted(governor, account, now)
    governor.begun(place, now)
    governor.ended(place, now)
    governor.heard(place, said or Usage(), now)
    return place


def throttled(governor: Governor, verdict: Throttled, account: str = A, now: float = 0, chance: float = 0) -> float:
    """A call that was refused for its budget; the pause."""
    return governor.throttled(called(governor, account, now), verdict, now, chance)


class TestPauses:
    def test_nobody_waits_at_first(self) -> None:
        """An account nothing is known of may be called."""
        assert isinstance(Governor().admit(A, 0), Admitted)

    def test_a_throttled_account_waits_and_the_others_do_not(self) -> None:
        """Accounts are independent."""
        governor = Governor()

        throttled(governor, ACCOUNT, now=10)

        assert Wait(100, Because.ACCOUNT_PAUSED) == governor.admit(A, 10)
        assert isinstance(governor.admit(B, 10), Admitted)

    def test_the_pause_ends(self) -> None:
        """After the stated time the account may be called again."""
        governor = Governor()
        throttled(governor, ACCOUNT, now=10)

        assert Wait(1, Because.ACCOUNT_PAUSED) == governor.admit(A, 109)
        assert isinstance(governor.admit(A, 110), Admitted)

    def test_a_throttled_app_pauses_everybody(self) -> None:
        """The app's budget is everybody's."""
        governor = Governor()

        throttled(governor, APP)

        assert [Wait(60, Because.APP_PAUSED)] * 2 == [governor.admit(A, 0), governor.admit(B, 0)]

    def test_a_shorter_pause_does_not_shorten_a_longer_one(self) -> None:
        """Calls made while blocked lengthen the block: the longest pause heard of counts."""
        governor = Governor()
        place = called(governor)
        governor.throttled(place, ACCOUNT, 0, 0)

        governor.throttled(place, Throttled(ThrottleScope.ACCOUNT, 1, stated=True), 0, 0)

        assert 100 == governor.paused(A, 0)

    def test_a_throttle_counts_whatever_the_headers_say(self) -> None:
        """0 % in a header does not lift a pause."""
        governor = Governor()
        place = called(governor)
        governor.throttled(place, ACCOUNT, 0, 0)

        governor.heard(place, Usage(account_percent=0), 1)

        assert 99 == governor.paused(A, 1)

    @pytest.mark.parametrize(
        ("first", "expected"),
        [(60.0, [60, 300, 600, 1200, 2400, 3600, 3600]), (300.0, [300, 600, 1200, 2400, 3600, 3600, 3600])],
    )
    def test_untold_pauses_grow_with_every_throttle(self, first: float, expected: list[float]) -> None:
        """Nobody says for how long, and 0 % in the headers: longer each time, an hour at most."""
        governor, now, pauses = Governor(), 0.0, []
        for _ in expected:
            pauses.append(throttled(governor, Throttled(ThrottleScope.ACCOUNT, first), now=now))
            now += pauses[-1]

        assert expected == pauses

    def test_a_success_makes_the_next_pause_short_again(self) -> None:
        """What was, was."""
        governor, guess = Governor(), Throttled(ThrottleScope.ACCOUNT, 60.0)
        throttled(governor, guess)
        throttled(governor, guess, now=100)

        governor.succeeded(called(governor, now=500), 500)

        assert 60 == throttled(governor, guess, now=501)

    def test_calls_that_are_refused_together_are_one_throttle(self) -> None:
        """Sixteen calls were on their way: that is no reason to wait for an hour."""
        governor, guess = Governor(), Throttled(ThrottleScope.ACCOUNT, 60.0)
        place = called(governor)

        assert {60} == {governor.throttled(place, guess, 0, 0) for _ in range(16)}

    def test_a_throttle_is_one_also_when_its_headers_said_so_first(self) -> None:
        """The answer's headers are heard before its verdict: concurrency shrinks all the same, and one call asks."""
        governor, told = Governor(), Usage(account_percent=100, retry_after=5)
        place = called(governor, said=told)

        governor.throttled(place, Throttled(ThrottleScope.ACCOUNT, 5, stated=True), 0, 0)

        admitted(governor, now=5)
        assert isinstance(governor.admit(A, 5), Wait)

    def test_a_success_during_a_pause_says_nothing(self) -> None:
        """It left before the throttle came."""
        governor, guess = Governor(), Throttled(ThrottleScope.ACCOUNT, 60.0)
        early = called(governor)
        throttled(governor, guess)

        governor.succeeded(early, 1)

        assert 300 == throttled(governor, guess, now=60)

    @given(wait=st.floats(0, 1e9), chance=st.floats(0, 1, exclude_max=True))
    def test_pauses_are_spread_and_bounded(self, wait: float, chance: float) -> None:
        """Never shorter than Meta asked for, never longer than a tenth more, never longer than an hour."""
        seconds = throttled(Governor(), Throttled(ThrottleScope.ACCOUNT, wait, stated=True), chance=chance)

        assert min(wait, MAX_PAUSE) <= seconds <= min(wait * (1 + SPREAD), MAX_PAUSE)

    @pytest.mark.parametrize("jump", [-1e6, 1e6])
    def test_a_clock_that_jumps_stops_nobody_for_long(self, jump: float) -> None:
        """Set back by days, a pause is still an hour at most."""
        governor = Governor()
        throttled(governor, ACCOUNT, now=1e6)

        assert governor.paused(A, 1e6 + jump) <= MAX_PAUSE


class TestSpeed:
    def test_a_minute_of_metas_passes_in_a_second(self) -> None:
        """For a rehearsal: pauses are sixty times shorter, in what is waited and in what is told."""
        governor = Governor(speed=60)

        assert 1 == throttled(governor, APP, now=7)
        assert 1 == governor.paused(B, 7)
        assert Wait(0.5, Because.APP_PAUSED) == governor.admit(A, 7.5)
        assert isinstance(governor.admit(A, 8), Admitted)

    def test_nobody_asks_all_the_time(self) -> None:
        """What is waited between two looks does not shrink with the minutes."""
        governor = Governor(speed=60)
        admitted(governor, now=1)

        assert Wait(0.05, Because.CONCURRENCY) == governor.admit(A, 1)


class TestTheQueue:
    @pytest.mark.parametrize("speed", [1.0, 60.0])
    def test_who_waits_behind_others_waits_longer(self, speed: float) -> None:
        """Near the end of a budget each of those ahead takes a turn; a rehearsal's clock changes nothing about that."""
        governor = Governor(speed=speed)
        called(governor, said=Usage((BusinessUse("1", "custom_audience", 99, 0),)))
        governor.admit(A, 0.01)
        wait = governor.admit(A, 0.02)

        assert isinstance(wait, Wait)
        assert (Because.BUDGET, True) == (wait.reason, wait.every > 0)
        assert wait.seconds <= wait.behind(1) < wait.behind(4) <= wait.until


class TestWhatIsTold:
    def test_an_estimate_on_a_good_answer_pauses(self) -> None:
        """Meta says in the header of a good answer that the next one would be refused."""
        governor = Governor()

        called(governor, said=Usage((BusinessUse("1", "custom_audience", 100, 120),)))

        assert 120 == governor.paused(A, 0)

    @pytest.mark.parametrize("use", [BusinessUse("2", "custom_audience", 100, 120), BusinessUse("1", "ads", 100, 120)])
    def test_what_is_not_about_the_account_and_its_audiences_does_not(self, use: BusinessUse) -> None:
        """The header may hold other accounts and other kinds of calls."""
        governor = Governor()

        called(governor, said=Usage((use,)))

        assert isinstance(governor.admit(A, 0), Admitted)

    def test_a_hundred_percent_without_an_estimate_is_a_brake_and_no_block(self) -> None:
        """Recorded traffic shows accounts at 100 % that go on working: a call a minute, then one in two seconds."""
        governor, now, waits = Governor(), 0.0, []
        for _ in range(8):
            governor.succeeded(called(governor, now=now, said=Usage(account_percent=100)), now)
            answer = governor.admit(A, now)
            assert isinstance(answer, Wait)
            waits.append(answer.seconds)
            now += answer.seconds

        assert 0 == governor.paused(A, now)
        assert waits == sorted(waits, reverse=True)
        assert (30, 2) == (round(waits[0]), round(waits[-1]))

    def test_a_full_app_slows_all_accounts(self) -> None:
        """Its percentage is about everybody's calls."""
        governor = Governor()

        called(governor, A, said=Usage(app_percent=99))

        answer = governor.admit(B, 1)
        assert isinstance(answer, Wait)
        assert Because.APP_BUDGET is answer.reason

    def test_a_full_account_slows_only_itself(self) -> None:
        """Neither of its percentages is about anybody else."""
        governor = Governor()

        called(governor, A, said=Usage(account_percent=99))

        answer = governor.admit(A, 1)
        assert isinstance(answer, Wait)
        assert Because.BUDGET is answer.reason
        assert isinstance(governor.admit(B, 1), Admitted)


class TestConcurrency:
    @staticmethod
    def burst(governor: Governor, now: float) -> int:
        """As many calls at once as are admitted, all of which succeed; how many those were."""
        places = []
        while isinstance(place := governor.admit(A, now), Admitted):
            governor.begun(place, now)
            places.append(place)
        for place in places:
            governor.ended(place, now)
            governor.succeeded(place, now)
        return len(places)

    def test_begins_with_one_call_and_doubles(self) -> None:
        """A process that just started knows nothing of what was called before."""
        governor = Governor()

        assert FIRST_CONCURRENCY == 1
        assert [1, 2, 4, 8] == [self.burst(governor, second) for second in range(4)]

    def test_a_throttle_halves_it_and_it_grows_slowly_from_there(self) -> None:
        """One call asks after the pause; up to the half that went well it doubles, then one more each time."""
        governor = Governor()
        for second in range(4):
            self.burst(governor, second)
        throttled(governor, Throttled(ThrottleScope.ACCOUNT, 1, stated=True), now=4)

        sizes = [self.burst(governor, second) for second in range(5, 12)]

        assert [1, 2, 4, 8, 8] == sizes[:5]
        assert all(later - earlier <= 1 for earlier, later in pairwise(sizes[3:]))

    def test_a_place_that_is_not_used_is_free_again(self) -> None:
        """A lease that is refused costs the account nothing; and twice is once."""
        governor = Governor()
        place = admitted(governor)
        assert Because.CONCURRENCY is getattr(governor.admit(A, 0), "reason", None)

        governor.ended(place, 0)
        governor.ended(place, 0)

        admitted(governor)
        assert isinstance(governor.admit(A, 0), Wait)


class TestMemory:
    def test_idle_accounts_are_forgotten_and_pauses_are_not(self) -> None:
        """A thousand customers came by once; one of them is paused, one has a call on its way."""
        governor = Governor()
        for number in range(1_000):
            called(governor, f"act_{number}", now=number)
        hung = admitted(governor, "act_7", now=1_000)
        throttled(governor, Throttled(ThrottleScope.ACCOUNT, 3_600, stated=True), "act_8", now=1_000)

        admitted(governor, "act_new", now=5_000)

        kept = {name for name in repr(governor).split() if "act_" in name}
        assert {"[act_7", "act_8", "act_new"} <= {name.rstrip(",") for name in kept} | {"[act_7"}
        assert len(kept) == 3
        governor.ended(hung, 5_000)


_numbers = st.floats(allow_nan=True, allow_infinity=True) | st.integers(-(10**30), 10**30)
_json = st.none() | st.booleans() | _numbers | st.text(max_size=5) | st.just(1e308)
_usages = st.builds(
    Usage,
    st.lists(
        st.builds(
            BusinessUse,
            st.sampled_from(["1", "2"]),
            st.sampled_from(["custom_audience", "ads_insights"]),
            st.floats(0, 1_000),
            st.sampled_from([0.0, 60.0, 86_400.0]),
        ),
        max_size=3,
    ).map(tuple),
    st.none() | st.floats(0, 1_000),
    st.sampled_from([0.0, 1.0, 300.0, 86_400.0]),
    st.none() | st.floats(0, 1_000),
    st.sampled_from([0.0, 5.0, 86_400.0]),
)


class AnyOrder(RuleBasedStateMachine):
    """Whatever Meta says, in whatever order things happen, and however the clock goes."""

    def __init__(self) -> None:
        super().__init__()
        self.governor, self.now = Governor(), 1_000.0
        self.places: list[Admitted] = []

    @rule(account=st.sampled_from([A, B]))
    def ask(self, account: str) -> None:
        """Never while paused, and a wait is a time one can wait for."""
        paused = self.governor.paused(account, self.now)
        answer = self.governor.admit(account, self.now)
        if isinstance(answer, Admitted):
            assert paused == 0
            self.places.append(answer)
        else:
            assert 0 < answer.seconds <= MAX_PAUSE

    @precondition(lambda self: self.places)
    @rule(
        data=st.data(),
        said=_usages,
        end=st.sampled_from(["unused", "lost", "served", "account", "app"]),
        wait=st.floats(0, 1e6),
        stated=st.booleans(),
    )
    def end(self, data: st.DataObject, said: Usage, end: str, wait: float, *, stated: bool) -> None:
        """One of the calls under way ends in one of all ways."""
        place = self.places.pop(data.draw(st.integers(0, len(self.places) - 1)))
        if end != "unused":
            self.governor.begun(place, self.now)
        self.governor.ended(place, self.now)
        if end in {"unused", "lost"}:
            return
        self.governor.heard(place, said, self.now)
        if end == "served":
            self.governor.succeeded(place, self.now)
        else:
            verdict = Throttled(ThrottleScope(end), wait, stated=stated)
            assert 0 <= self.governor.throttled(place, verdict, self.now, 0.5) <= MAX_PAUSE

    @rule(seconds=st.floats(0, 4_000) | st.sampled_from([-5_000.0, -1.0, 1e6]))
    def time_passes(self, seconds: float) -> None:
        """Or jumps."""
        self.now += seconds

    @invariant()
    def numbers_are_numbers(self) -> None:
        """No pace is negative or no number, no concurrency out of bounds, no count of calls wrong."""
        for state in self.governor._accounts.values():
            assert 1 <= state.concurrency <= MOST_CONCURRENCY
            assert 0 <= state.pacer.held <= state.pacer.in_flight
            assert math.isfinite(state.pacer.tokens)
            for gauge in state.pacer.gauges.values():
                pace = gauge.pace(self.now, state.pacer.history, in_flight=0, held=0)
                assert 0 < pace < math.inf
        assert len(self.places) == sum(state.pacer.in_flight for state in self.governor._accounts.values())


TestAnyOrder = AnyOrder.TestCase


class TestHostileHeaders:
    @given(
        business=st.recursive(_json, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner)),
        parts=st.dictionaries(
            st.sampled_from(["call_count", "total_cputime", "total_time", "estimated_time_to_regain_access", "type"]),
            _json,
        ),
        score=_json,
        reset=_json,
        retry=st.text(max_size=40),
    )
    def test_never_stop_an_account_for_more_than_an_hour(
        self, *, business: object, parts: dict[str, object], score: object, reset: object, retry: str
    ) -> None:
        """Whatever stands in them: no exception, no number that is none, and a time to ask again."""
        said = usage(
            {
                "x-business-use-case-usage": _text({"1": [parts, business], "2": business}),
                "x-ad-account-usage": _text({"acc_id_util_pct": score, "reset_time_duration": reset}),
                "x-app-usage": _text(parts),
                "retry-after": retry,
            }
        )
        governor = Governor()
        governor.succeeded(called(governor, said=said), 0)

        answer = governor.admit(A, 0)

        assert isinstance(answer, Admitted) or 0 < answer.seconds <= MAX_PAUSE


def _text(document: object) -> str:
    """JSON as a careless server writes it: NaN, Infinity and integers of any length."""
    return json.dumps(document)


class TestFirstAnswers:
    def test_nobody_is_sent_away_for_a_first_guess(self) -> None:
        """An hour's budget looks small after one answer: who queues behind sixty others is told a moment, not a minute.

        Sent to a tier for it, the first chunks of every new account came back half a minute later.
        """
        governor = Governor()
        governor.succeeded(called(governor, said=Usage((BusinessUse("1", "custom_audience", 0, 0),))), 0)
        governor.begun(admitted(governor, now=1), 1)

        wait = governor.admit(A, 1)

        assert isinstance(wait, Wait)
        assert (Because.BUDGET, 5.0) == (wait.reason, wait.behind(60))
