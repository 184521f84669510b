"""Budgets, usage headers and emulated time, on a clock the test turns."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.clock import Clock
from emulator.limits import HourWindow, Limits
from emulator.shapes import Malformed
from tests.unit.emulator_parts import START, Desk, Heard, hashed


def business_usage(heard: Heard, account: str) -> Any:
    """The one object of the business-use-case header."""
    return orjson.loads(heard.headers["x-business-use-case-usage"])[account.removeprefix("act_")][0]


class TestWindow:
    @given(gaps=st.lists(st.integers(0, 5000), max_size=40), budget=st.integers(1, 10))
    def test_it_is_a_rolling_hour(self, gaps: list[int], budget: int) -> None:
        """The count is that of a list of minutes, and the stated wait is the first minute that is within the budget."""
        window, now, minutes = HourWindow(), START, list[int]()
        for gap in gaps:
            now += gap
            window.add(now)
            minutes.append(int(now // 60))
        inside = [minute for minute in minutes if minute > int(now // 60) - 60]
        wait = window.minutes_until_below(budget, now)

        assert len(inside) == window.count(now)
        assert window.count(now + 60 * wait) < budget
        assert wait == 0 or window.count(now + 60 * (wait - 1)) >= budget

    def test_memory_is_bounded(self) -> None:
        """However long it runs, a window holds an hour of minutes."""
        window = HourWindow()
        for minute in range(10_000):
            window.add(60.0 * minute)

        assert 60 == len(window.minutes)


class TestBudget:
    def desk(self, calls: int, scale: float = 1.0) -> tuple[Desk, str]:
        """A desk with an audience whose account has used its whole hourly budget."""
        desk = Desk()
        audience = desk.audience()
        desk.emulation.limits = Limits().changed({"budget": {desk.account: calls}, "time_scale": scale})
        desk.emulation.clock.scale = scale
        for _ in range(calls - 1):
            assert desk.ask("GET", audience).status == 200
        return desk, audience

    def test_the_call_beyond_is_refused(self) -> None:
        """The call beyond the budget gets 80003/2446079, the header and the minutes; it has no effect."""
        desk, audience = self.desk(3)
        heard = desk.upload(audience, [[hashed(1)]])

        assert (400, (80003, 2446079)) == (heard.status, heard.error)
        assert 60 == business_usage(heard, desk.account)["estimated_time_to_regain_access"]
        assert 0 == desk.members(audience)

    def test_an_hour_later_calls_are_served_again(self) -> None:
        """The budget is of a rolling hour."""
        desk, audience = self.desk(3)
        desk.passed += 3600

        assert 200 == desk.ask("GET", audience).status

    def test_blocked_calls_lengthen_the_block(self) -> None:
        """Calls made while blocked count: whoever keeps asking stays out."""
        desk, audience = self.desk(3)
        desk.passed += 1800
        for _ in range(3):
            assert desk.ask("GET", audience).status == 400
        desk.passed += 1800

        assert 400 == desk.ask("GET", audience).status

    def test_time_scale(self) -> None:
        """At sixty times the pace the hour is over in a minute, and the stated wait is in real minutes."""
        desk, audience = self.desk(3, scale=60.0)

        assert 1 == business_usage(desk.ask("GET", audience), desk.account)["estimated_time_to_regain_access"]

        desk.passed += 60

        assert 200 == desk.ask("GET", audience).status

    def test_accounts_are_apart(self) -> None:
        """One account's budget is not another's; `*` is each other account's own."""
        desk = Desk()
        first, second = list(desk.world.accounts)[:2]
        desk.emulation.limits = Limits().changed({"budget": {"*": 1, first: 100}})

        assert [200, 200, 200] == [desk.ask("GET", f"act_{first}").status for _ in range(3)]
        assert [200, 400] == [desk.ask("GET", f"act_{second}").status for _ in range(2)]

    def test_batch_items_count(self) -> None:
        """Each item of a batch is a call."""
        desk, audience = self.desk(3)
        items = [{"method": "GET", "relative_url": audience}] * 2
        heard = desk.ask("POST", "", batch=items)

        assert [400, 400] == [item["code"] for item in heard.json]


class TestUsageHeaders:
    def test_split(self) -> None:
        """As observed: adding members carries the ad-account and app headers, other audience calls the third."""
        desk = Desk()
        audience = desk.audience()
        adding = desk.upload(audience, [[hashed(1)]])
        removing = desk.upload(audience, [[hashed(1)]], method="DELETE")
        names = ("x-ad-account-usage", "x-app-usage", "x-business-use-case-usage")

        assert ["x-ad-account-usage", "x-app-usage"] == [name for name in names if name in adding.headers]
        for heard in (removing, desk.ask("GET", audience), desk.ask("GET", f"{desk.account}/customaudiences")):
            assert ["x-business-use-case-usage"] == [name for name in names if name in heard.headers]
            assert business_usage(heard, desk.account)["type"] == "custom_audience"

    def test_percentages_follow_the_budget(self) -> None:
        """Half of the budget used is fifty percent, in both kinds of header."""
        desk = Desk()
        audience = desk.audience()
        desk.emulation.limits = Limits().changed({"budget": {"*": 4}})

        assert 50 == business_usage(desk.ask("GET", audience), desk.account)["call_count"]
        assert '{"acc_id_util_pct":75}' == desk.upload(audience, [[hashed(1)]]).headers["x-ad-account-usage"]


class TestLimits:
    def test_change_keeps_what_is_not_named(self) -> None:
        """Setting one limit leaves the others; a budget is replaced as a whole."""
        limits = Limits().changed({"latency_ms": 10, "budget": {"act_1": 5}}).changed({"jitter_ms": 4})

        assert (10, 4, {"1": 5}) == (limits.latency_ms, limits.jitter_ms, limits.budget)
        assert {} == limits.changed({"budget": {}}).budget
        assert 0.012 == limits.delay(0.5)

    @pytest.mark.parametrize(
        "value", [{"latency": 1}, {"latency_ms": -1}, {"time_scale": 0}, {"budget": {"1": "x"}}, {"budget": 5}, 7]
    )
    def test_mistakes(self, value: object) -> None:
        """A misspelt or impossible limit is refused."""
        with pytest.raises(Malformed):
            Limits().changed(value)

    def test_formula(self) -> None:
        """Without a set budget it is Meta's formula of the full tier, capped."""
        assert 190_000 + 40 * 5 == Limits().calls_an_hour("1", 5)
        assert 700_000 == Limits().calls_an_hour("1", 100_000)


class TestClock:
    def test_a_changed_scale_never_jumps(self) -> None:
        """Emulated time runs faster or slower from now on, and never leaps."""
        ticks = [0.0]
        clock = Clock(wall=lambda: START, ticks=lambda: ticks[0])
        ticks[0] = 10.0
        clock.scale = 60.0
        at_change = clock.now()
        ticks[0] = 11.0

        assert START + 10 == at_change
        assert START + 70 == clock.now()
