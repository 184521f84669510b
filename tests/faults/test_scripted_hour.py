"""An hour of Meta's worst moods in a minute, all at once, a customer for each: every one ends as the table says.

What is answered, and how it has to end, is in `tests/faults/hour.py`; `tests/faults/rehearsal.py` puts it on: all
customers publish, the script runs until nothing moves any more, then a person mends what waits for one. The tests look
at what came of it; they change nothing.
"""

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest

from tests.faults.hour import ATTEMPTS, PATIENCE, SCENARIOS, SHORT, SPEED, TIERS, Scenario
from tests.faults.rehearsal import (
    ANSWERED_AFTER,
    BYSTANDER,
    CAPABILITY,
    FILES,
    FLAGGED,
    FLAGGED_TOO,
    LONG_MINUTES,
    NEIGHBOUR,
    PEOPLE,
    THROTTLED,
    TOKEN,
    Hour,
    run,
)
from tests.records import emails
from tests.stack import ENDED, running

pytestmark = pytest.mark.timeout(300)

SLACK = 0.05
"""Seconds between the emulator's log of a call and the uploader's own clock."""


@pytest.fixture(scope="module")
def hour(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hour]:
    """The whole hour, over when the first test begins."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FBC_PACE__SPEED", str(SPEED))
        patch.setenv("FBC_RETRY__SHORT", json.dumps(SHORT))
        patch.setenv("FBC_RETRY__DELAYS", json.dumps(TIERS))
        patch.setenv("FBC_RETRY__ATTEMPTS", str(ATTEMPTS))
        patch.setenv("FBC_RETRY__SECONDS", str(PATIENCE))
        patch.setenv("FBC_RETRY__MEMORY", str(30 / SPEED))
        patch.setenv("FBC_GRAPH__ANSWER_TIMEOUT", "8")
        with running(tmp_path_factory.mktemp("hour")) as stack:
            patch.setenv("FBC_HOME", str(stack.home))
            hour = Hour(stack, tmp_path_factory.mktemp("people"))
            run(hour)
            yield hour


def totals(records: int, **elsewhere: int) -> dict[str, int]:
    """All *records* accepted but for those *elsewhere*."""
    places = dict.fromkeys(("invalid", "rejected", "waiting", "dead"), 0) | elsewhere
    return {"records": records, "accepted": records - sum(elsewhere.values()), **places}


class TestScriptedHour:
    @pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
    def test_each_trouble_comes_to_rest_as_the_table_says(self, hour: Hour, scenario: Scenario) -> None:
        """State, reason, every record in its place, and not a call more than it takes."""
        delivery = hour.deliveries[scenario.name]
        place = {"failed": "dead", "waiting": "waiting", "delivered": "invalid"}[scenario.rests]
        elsewhere = scenario.invalid if scenario.rests == "delivered" else scenario.people
        calls = delivery.calls_until_rest
        reason = (delivery.rested.get("reason") or {}).get("code")

        assert (scenario.rests, scenario.why) == (delivery.rested["state"], reason), delivery.rested
        assert totals(scenario.people, **{place: elsewhere}) == delivery.rested["totals"]
        assert scenario.calls[0] <= len(calls) <= scenario.calls[1], [shown(call) for call in calls]

    @pytest.mark.parametrize(
        "scenario", [scenario for scenario in SCENARIOS if scenario.pause], ids=lambda scenario: scenario.name
    )
    def test_no_call_is_made_before_the_pause_is_over(self, hour: Hour, scenario: Scenario) -> None:
        """As long as Meta says, or as the table says when Meta does not."""
        first, second = hour.deliveries[scenario.name].calls_until_rest

        assert second["time"] - first["time"] >= scenario.pause / SPEED - SLACK

    @pytest.mark.parametrize(
        "scenario", [scenario for scenario in SCENARIOS if scenario.attempts], ids=lambda scenario: scenario.name
    )
    def test_attempts_are_counted_and_a_throttle_is_none(self, hour: Hour, scenario: Scenario) -> None:
        """What is waited for on Meta's wish is not held against the chunk."""
        chunk = f"{hour.deliveries[scenario.name].revision}/0/0"

        assert [scenario.attempts] == [
            line["attempts"] for line in hour.logged("chunk.delivered") if line["chunk"] == chunk
        ]

    def test_the_whole_script_was_met(self, hour: Hour) -> None:
        """Every fault that is to be met so many times was."""
        assert [] == [fault for fault in hour.faults if fault.get("times", fault["fired"]) != fault["fired"]]

    @pytest.mark.parametrize(
        "scenario", [scenario for scenario in SCENARIOS if scenario.rests == "waiting"], ids=lambda one: one.name
    )
    def test_what_waited_is_delivered_once_it_is_mended(self, hour: Hour, scenario: Scenario) -> None:
        """Released by hand: one call more."""
        delivery = hour.deliveries[scenario.name]

        assert ("delivered", totals(scenario.people)) == (delivery.ended["state"], delivery.ended["totals"])
        assert 2 == len(delivery.calls)

    def test_patience_outlasts_attempts_and_time(self, hour: Hour) -> None:
        """Given up only when both are spent."""
        calls = hour.deliveries["never-again"].calls

        assert len(calls) >= ATTEMPTS
        assert calls[-1]["time"] - calls[0]["time"] >= PATIENCE - SLACK

    def test_an_unknown_answer_is_tried_slowly_and_alarms(self, hour: Hour) -> None:
        """Not in memory and not in the first tier; the fact names the code."""
        first, second = hour.deliveries["unknown-424242"].calls

        assert second["time"] - first["time"] >= TIERS[1] - SLACK
        assert {"424242", "http_404", "1234567"} <= {line["label"] for line in hour.logged("graph.unknown_answer")}


class TestPeopleAreNeeded:
    def test_a_revoked_token_burns_no_calls_and_loses_nothing(self, hour: Hour) -> None:
        """What was in flight is refused; then nothing is called until the customer connects again."""
        delivery = hour.deliveries[TOKEN]
        refused = [call for call in delivery.calls if call["code"] == 190]

        assert ("waiting", "password_changed") == (delivery.rested["state"], delivery.rested["reason"]["code"])
        assert 0 < delivery.rested["totals"]["waiting"] < PEOPLE * FILES
        assert 1 <= len(refused) <= 4, [shown(call) for call in delivery.calls]
        assert set(hour.token_of_revoked) == {call["token"] for call in refused}
        assert max(call["time"] for call in refused) < refused[0]["time"] + ANSWERED_AFTER + SLACK
        assert ("delivered", totals(PEOPLE * FILES)) == (delivery.ended["state"], delivery.ended["totals"])

    def test_a_flagged_audience_waits_and_goes_on(self, hour: Hour) -> None:
        """One call finds out; after the appeal and the release one delivers."""
        delivery = hour.deliveries[FLAGGED_TOO]

        assert ("waiting", "audience_flagged") == (delivery.rested["state"], delivery.rested["reason"]["code"])
        assert [200, 400, 200] == [call["status"] for call in delivery.calls]
        assert ("delivered", totals(PEOPLE)) == (delivery.ended["state"], delivery.ended["totals"])

    def test_an_app_without_the_capability_stops_for_everybody(self, hour: Hour) -> None:
        """One call in all; who comes after waits without one."""
        refused, bystander = hour.deliveries[CAPABILITY], hour.deliveries[BYSTANDER]

        assert ["app_capability_missing"] * 2 == [one.rested["reason"]["code"] for one in (refused, bystander)]
        assert (1, 0) == (len(refused.calls_until_rest), len(bystander.calls_until_rest))
        assert ["delivered"] * 2 == [one.ended["state"] for one in (refused, bystander)]
        assert (2, 1) == (len(refused.calls), len(bystander.calls))


class TestNeighbours:
    def test_a_throttled_account_costs_the_others_nothing(self, hour: Hour) -> None:
        """The neighbour is done, with its own calls, while the account still waits."""
        throttled, neighbour = hour.deliveries[THROTTLED], hour.deliveries[NEIGHBOUR]
        first, second, *_ = [call["time"] for call in throttled.calls]

        assert second - first >= LONG_MINUTES * 60 / SPEED - SLACK
        assert datetime.fromisoformat(neighbour.ended["ended_at"]).timestamp() < second
        assert (FILES + 1, FILES) == (len(throttled.calls), len(neighbour.calls))


class TestPromises:
    def test_every_record_is_where_the_ledger_says(self, hour: Hour) -> None:
        """Complete and isolated: all of a delivered one's people are members, and there is nobody else."""
        invalid = {scenario.name: scenario.invalid for scenario in SCENARIOS}
        wrong = []
        for name, delivery in hour.deliveries.items():
            if delivery.ended["state"] != "delivered" or name in {FLAGGED, FLAGGED_TOO}:
                continue
            records, members = hour.people[name], hour.members(delivery)
            missing = list(range(invalid.get(name, 0)))  # the trouble is with the first
            path = f"/audiences/{delivery.ended['audience_id']}/contains"
            held = hour.control("POST", path, emails(name, range(records)))
            if held != {"members": records - len(missing), "missing": missing} or members != records - len(missing):
                wrong.append((name, members, held))

        assert [] == wrong

    def test_the_flagged_audience_has_both_deliveries(self, hour: Hour) -> None:
        """The one from before and the one that waited."""
        assert 2 * PEOPLE == hour.members(hour.deliveries[FLAGGED])

    def test_every_delivery_ended_and_every_record_is_accounted_for(self, hour: Hour) -> None:
        """Accepted, invalid, or in a dead letter with its reason: nothing is lost."""
        for name, delivery in hour.deliveries.items():
            sums = delivery.ended["totals"]
            assert delivery.ended["state"] in ENDED, name
            assert hour.people[name] == sums["records"] == sums["accepted"] + sums["invalid"] + sums["dead"], name

    def test_every_lost_chunk_is_a_dead_letter(self, hour: Hour) -> None:
        """With the bytes of the event and the reason beside it, to be replayed: no more of them, and no fewer."""
        failed = {scenario.name for scenario in SCENARIOS if scenario.rests == "failed"}
        letters = hour.kafka()["fbc.chunks.v1.dlq"]
        headers = [dict(letter.headers) for letter in letters]

        assert {hour.deliveries[name].revision for name in failed} == {
            json.loads(letter.value)["revision"] for letter in letters
        }
        assert len(failed) == len(letters)
        assert all(names["failure-kind"] and names["error-code"] and names["error-message"] for names in headers)

    def test_nothing_private_is_in_any_log(self, hour: Hour) -> None:
        """Neither an address, nor its hash, nor a token, nor the app's secret."""
        logs = sorted((hour.stack.home / "logs").glob("*.log"))

        assert len(logs) >= 6
        assert {} == {log.name: found for log in logs if (found := hour.private(log.read_text(errors="replace")))}

    def test_nothing_private_is_in_kafka(self, hour: Hour) -> None:
        """Events refer to people and do not hold them; in delay topics and dead letters too."""
        topics = hour.kafka()

        assert {"fbc.chunks.v1", "fbc.outcomes.v1", "fbc.chunks.v1.dlq", "fbc.chunks.v1.retry.30s"} <= topics.keys()
        for topic, records in topics.items():
            text = repr([(record.key, record.value, record.headers) for record in records])
            assert set() == hour.private(text), topic


def shown(call: Any) -> tuple[Any, ...]:
    """A call in a few words."""
    return call["time"], call["rows"], call["status"], call["code"]
