"""What the headers of an answer say about budgets, and whose they are."""

import json
from pathlib import Path

import pytest

from connector.graph.usage import MOST_ENTRIES, MOST_HEADER, MOST_PERCENT, MOST_SECONDS, BusinessUse, Usage, usage

SAMPLES = Path(__file__).parent.parent / "samples" / "graph"
BUSINESS = "x-business-use-case-usage"


def recorded(name: str) -> Usage:
    """The usage of a recorded answer."""
    headers = json.loads((SAMPLES / f"{name}.json").read_text())["headers"]
    return usage({key.lower(): value for key, value in headers.items()})


def business(**parts: object) -> str:
    """A header with one entry, of account 7."""
    return json.dumps({"7": [{"type": "custom_audience", **parts}]})


class TestRecordedAnswers:
    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            ("users_added", Usage(account_percent=9.67, app_percent=28)),
            ("users_removed", Usage((BusinessUse("1001", "custom_audience", 32),))),
            ("throttled_with_estimate", Usage((BusinessUse("1001", "custom_audience", 100, 420),))),
            ("throttled_retry_after", Usage(retry_after=90)),
            ("html_503", Usage()),
        ],
    )
    def test_all_headers_are_read(self, name: str, expected: Usage) -> None:
        """The largest part of each counts; minutes become seconds."""
        assert expected == recorded(name)

    def test_the_largest_is_shown(self) -> None:
        """For people one number is enough."""
        assert 28 == recorded("users_added").percent


class TestWhoseItIs:
    USAGE = usage(
        {
            BUSINESS: json.dumps(
                {
                    "7": [
                        {"type": "ads_insights", "call_count": 99, "estimated_time_to_regain_access": 9},
                        {"type": "custom_audience", "call_count": 5, "total_time": 7.5},
                    ],
                    "8": [{"type": "custom_audience", "call_count": 90, "estimated_time_to_regain_access": 3}],
                }
            )
        }
    )

    @pytest.mark.parametrize(
        ("account", "percent", "regain"), [("act_7", 7.5, 0), ("act_8", 90, 180), ("act_9", None, 0)]
    )
    def test_only_audience_calls_of_the_account_slow_it(
        self, account: str, percent: float | None, regain: float
    ) -> None:
        """Other accounts and other kinds of calls have their own budgets."""
        assert (percent, regain) == (self.USAGE.business_percent(account), self.USAGE.regain(account))

    @pytest.mark.parametrize(("account", "seconds"), [("act_7", 540), ("act_8", 180), ("act_9", 0), (None, 540)])
    def test_a_throttled_account_waits_for_whichever_kind_it_was(self, account: str | None, seconds: float) -> None:
        """The refusal does not say which of the account's budgets it was."""
        assert seconds == self.USAGE.stated_wait(account)


class TestRetryAfter:
    @pytest.mark.parametrize(
        ("said", "seconds"),
        [
            ("90", 90),
            (" 90 ", 90),
            ("Wed, 25 Nov 2026 20:02:00 GMT", 120),
            ("Wed, 25 Nov 2026 19:00:00 GMT", 0),
            ("9" * 40, MOST_SECONDS),
            ("-5", 0),
            ("1e9", 0),
            ("٣", 0),
            ("soon", 0),
            ("Wed, 99 Nov 99999 99:99:99 GMT", 0),
            ("", 0),
        ],
    )
    def test_is_seconds_or_a_moment(self, said: str, seconds: float) -> None:
        """A moment counts from the answer's own date: no clock of ours matters."""
        assert seconds == usage({"retry-after": said, "date": "Wed, 25 Nov 2026 20:00:00 GMT"}).retry_after

    def test_a_moment_without_a_date_says_nothing(self) -> None:
        """There is nothing to count from."""
        assert 0 == usage({"retry-after": "Wed, 25 Nov 2026 20:02:00 GMT"}).retry_after


class TestHostileHeaders:
    @pytest.mark.parametrize(
        "header",
        [
            "",
            "[]",
            "nonsense",
            '{"1":7}',
            '{"1":[7]}',
            "[" * 9_999,
            '{"7":[{"call_count":3}]}',
            '{"7":' + "9" * 999 + "}",
        ],
    )
    def test_what_cannot_be_read_says_nothing(self, header: str) -> None:
        """A change on Meta's side does not stop deliveries."""
        assert Usage() == usage({BUSINESS: header})

    @pytest.mark.parametrize("value", ["12", None, True, -1, float("nan"), float("inf"), 10**400, [], {}])
    def test_what_is_no_number_of_percent_says_nothing(self, value: object) -> None:
        """Text, truth, less than nothing, or more than there is."""
        assert Usage() == usage({BUSINESS: business(call_count=value, estimated_time_to_regain_access=value)})

    def test_numbers_are_bounded(self) -> None:
        """1e308 percent is a lot, and still a number to reckon with."""
        said = usage({BUSINESS: business(call_count=1e308, estimated_time_to_regain_access=1e308)})

        assert (BusinessUse("7", "custom_audience", MOST_PERCENT, MOST_SECONDS),) == said.business

    def test_floods_are_cut_off(self) -> None:
        """A header of any size costs a bounded time."""
        entry = {"type": "custom_audience", "call_count": 1}
        many = usage({BUSINESS: json.dumps({"7": [entry] * 500})})

        assert MOST_ENTRIES == len(many.business)
        assert Usage() == usage({BUSINESS: business(call_count=1, filler="x" * MOST_HEADER)})
