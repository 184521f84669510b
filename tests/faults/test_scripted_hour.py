"""An hour of Meta's worst moods in a minute, all at once, a customer for each: every one ends as the table says.

What is answered, and how it has to end, is in `tests/faults/hour.py`. All customers publish, the script runs until
nothing moves any more, then a person mends what waits for one. The tests look at what came of it; they change nothing.
"""

import asyncio
import json
import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from cli import services
from cli.publishing import Request, publish_files
from cli.seed import connect
from schemas.events import Layout
from tests.faults.hour import ATTEMPTS, PATIENCE, SCENARIOS, SHORT, SPEED, TIERS, Answer, Scenario
from tests.records import address, digest, emails, people
from tests.stack import ENDED, Stack, http, running

pytestmark = pytest.mark.timeout(300)

PUBLISHERS = 8
PEOPLE = 20
FILES = 12

THROTTLED, NEIGHBOUR = "throttled-for-long", "neighbour"
LONG_MINUTES = 15
TOKEN = "revoked"
ANSWERED_AFTER = 0.7
FLAGGED, FLAGGED_TOO = "flagged", "flagged-too"
CAPABILITY, BYSTANDER = "capability", "bystander"

AT_REST = ENDED | {"waiting"}
REST_WITHIN, END_WITHIN = 60.0, 30.0
SLACK = 0.05
"""Seconds between the emulator's log of a call and the uploader's own clock."""


@dataclass
class Delivery:
    """A delivery of a customer, as it was when nothing moved any more, and as it ended; with the calls until then."""

    customer: str
    revision: int
    rested: Any = None
    ended: Any = None
    calls_until_rest: list[Any] = field(default_factory=list)
    calls: list[Any] = field(default_factory=list)


class Hour:
    """The stack while the script runs, and what came of it."""

    def __init__(self, stack: Stack, folder: Path) -> None:
        parts = stack.parts()
        self.stack = stack
        self._folder = folder
        self._control, self._ingest = parts["emulator"]["control_url"], parts["ingest"]["url"]
        self._accounts: dict[str, str] = {}
        self._numbers, self._revisions = count(9_000_001), count(time.time_ns() // 10**6)
        self.deliveries: dict[str, Delivery] = {}
        self.people: dict[str, int] = {}
        self.faults: list[Any] = []
        self.token_of_revoked: list[str] = []
        self._hashes: set[str] = set()
        self._secret = ""

    def control(self, method: str, path: str, body: object = None) -> Any:
        """The emulator's control side."""
        status, answer = http(method, self._control + path, body)
        assert status < 300, answer
        return answer

    def connect(self, customer: str) -> str:
        """A customer with an ad account and a token of its own; the account's number."""
        if customer not in self._accounts:
            self._accounts[customer] = self.control("POST", "/accounts", {"id": str(next(self._numbers))})["id"]
        account = self._accounts[customer]
        asyncio.run(connect(customer, 1, account))  # what `fbc dev seed` does, a hundred times
        return account.removeprefix("act_")

    def script(self, match: Answer, answer: Answer, times: int | None = None) -> None:
        """What calls meet."""
        self.control("POST", "/faults", {"match": match, "times": times, "answer": answer})

    def publish(self, customer: str, records: int = PEOPLE, files: int = 1, *, delivery: str | None = None) -> Delivery:
        """A delivery of *records* people in so many files; by another name when it is not the customer's first."""
        name = delivery or customer
        parts = [
            people(self._folder / f"{name}-{number}.ndjson", name, range(number, records, files))
            for number in range(files)
        ]
        wanted = Request(
            files=tuple(parts),
            profile=customer,
            audience_name=None,
            audience_id=None,
            operation="add",
            layout=Layout.NARRATIVE_DATASET,
            revision=next(self._revisions),
            store="local",
        )
        asyncio.run(publish_files(wanted, services.environment()))  # `fbc deliveries publish`
        self.people[name] = records
        self.deliveries[name] = Delivery(customer, wanted.revision)
        return self.deliveries[name]

    def release(self, name: str) -> None:
        """The operator says that what the delivery waits for is mended."""
        assert self.stack.said("deliveries", "release", str(self.deliveries[name].revision))["released"]

    def seen(self, delivery: Delivery) -> Any:
        """The delivery as ingest shows it."""
        return http("GET", f"{self._ingest}/v1/deliveries/{delivery.revision}")[1]

    def members(self, delivery: Delivery) -> int:
        """How many people the audience of the delivery holds; none while there is no audience."""
        audience = self.seen(delivery)["audience_id"]
        return int(self.control("GET", f"/audiences/{audience}/count")["count"]) if audience else 0

    def until(self, condition: Callable[[], bool], within: float) -> None:
        """Waits; what did not come true in time is for the tests to tell."""
        deadline = time.monotonic() + within
        while not condition() and time.monotonic() < deadline:
            time.sleep(0.1)

    def wait(self, states: set[str], within: float) -> None:
        """Until all deliveries are in one of *states*."""
        revisions = {delivery.revision for delivery in self.deliveries.values()}
        assert len(revisions) <= 200, "more than one page of deliveries"

        def settled() -> bool:
            _, answer = http("GET", f"{self._ingest}/v1/deliveries?limit=200")
            listed = {delivery["revision"]: delivery["state"] for delivery in answer["deliveries"]}
            return all(listed.get(revision) in states for revision in revisions)

        self.until(settled, within)

    def calls(self) -> dict[str, list[Any]]:
        """The calls that carried people, by audience."""
        calls: dict[str, list[Any]] = {}
        for call in self.control("GET", "/calls"):
            if call["path"].endswith("/users"):
                calls.setdefault(call["audience"], []).append(call)
        return calls

    def note_rest(self) -> None:
        """Remembers where everything is now that nothing moves any more."""
        calls = self.calls()
        self.faults = self.control("GET", "/faults")
        for delivery in self.deliveries.values():
            delivery.rested = self.seen(delivery)
            delivery.calls_until_rest = calls.get(delivery.rested["audience_id"], [])

    def note_end(self) -> None:
        """Remembers how everything ended."""
        calls = self.calls()
        for delivery in self.deliveries.values():
            delivery.ended = self.seen(delivery)
            delivery.calls = calls.get(delivery.ended["audience_id"], [])

    def private(self, text: str) -> set[str]:
        """What no log and no event may hold: addresses, their hashes, tokens, the app's secret."""
        if not self._hashes:
            self._hashes = {digest(address(who, n)) for who, many in self.people.items() for n in range(many)}
            self._secret = self.control("GET", "/seed")["app_secret"]
        found = {hashed for hashed in re.findall(r"[0-9a-f]{64}", text) if hashed in self._hashes}
        found |= set(re.findall(r"[\w-]+@example\.com|EMU[0-9a-f]{16,}", text))
        return found | ({"the app's secret"} if self._secret in text else set())

    def kafka(self) -> dict[str, list[Any]]:
        """Everything on the broker, by topic."""
        return asyncio.run(_everything(services.environment()["FBC_KAFKA__BOOTSTRAP"]))

    def logged(self, fact: str) -> list[Any]:
        """The uploader's log lines of a fact."""
        text = (self.stack.home / "logs" / "uploader-1.log").read_text()
        lines = (json.loads(line) for line in text.splitlines() if line.startswith("{"))
        return [line for line in lines if line.get("event") == fact]


async def _everything(bootstrap: str) -> dict[str, list[Any]]:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        topics = await admin.describe_topics([name for name in await admin.list_topics() if name.startswith("fbc.")])
    finally:
        await admin.close()
    spans = [TopicPartition(topic["topic"], span["partition"]) for topic in topics for span in topic["partitions"]]
    found: dict[str, list[Any]] = {}
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest", enable_auto_commit=False)
    await consumer.start()
    try:
        consumer.assign(spans)
        ends = await consumer.end_offsets(spans)
        left = {span for span in spans if ends[span]}
        while left:
            for span, records in (await consumer.getmany(timeout_ms=500)).items():
                found.setdefault(span.topic, []).extend(records)
            left = {span for span in left if await consumer.position(span) < ends[span]}
    finally:
        await consumer.stop()
    return found


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


def run(hour: Hour) -> None:
    """The script from the first publication to the last end."""
    seed = hour.control("GET", "/seed")["token"]
    hour.control("DELETE", f"/tokens/{seed}")  # so that each customer gets a token of its own
    begin_special_customers(hour)

    def begin(scenario: Scenario) -> None:
        account = hour.connect(scenario.name)
        for fault in scenario.faults(account):
            hour.control("POST", "/faults", fault)
        hour.publish(scenario.name, scenario.people, scenario.files)

    with ThreadPoolExecutor(PUBLISHERS) as publishers:
        list(publishers.map(begin, SCENARIOS))
    revoke_in_the_middle(hour)
    hour.wait(AT_REST, REST_WITHIN)
    hour.note_rest()

    mend(hour)
    hour.wait(ENDED, END_WITHIN)
    lose_a_capability(hour)
    hour.note_end()


def begin_special_customers(hour: Hour) -> None:
    """Those whose trouble is more than answers to some calls."""
    hour.connect(FLAGGED)
    calm = hour.publish(FLAGGED)
    account = hour.connect(THROTTLED)
    regain = {"type": "custom_audience", "call_count": 100, "estimated_time_to_regain_access": LONG_MINUTES}
    header = {"x-business-use-case-usage": json.dumps({account: [regain]})}
    hour.script({"account": account, "path": "/users"}, {"code": 80003, "headers": header}, times=1)
    hour.connect(NEIGHBOUR)
    hour.publish(THROTTLED, PEOPLE * FILES, FILES)
    hour.publish(NEIGHBOUR, PEOPLE * FILES, FILES)

    hour.until(lambda: hour.seen(calm)["state"] in ENDED, END_WITHIN)
    flag(hour, 471)
    hour.publish(FLAGGED, delivery=FLAGGED_TOO)


def flag(hour: Hour, status: int) -> None:
    """Meta flags the audience, or no longer."""
    audience = hour.seen(hour.deliveries[FLAGGED])["audience_id"]
    hour.control("PATCH", f"/audiences/{audience}", {"operation_status": status})


def revoke_in_the_middle(hour: Hour) -> None:
    """A delivery is under way when the customer changes the password."""
    before = {token["digest"] for token in hour.control("GET", "/tokens")}
    account = hour.connect(TOKEN)
    mine = {token["digest"] for token in hour.control("GET", "/tokens")} - before
    hour.token_of_revoked = sorted(mine)
    hour.script({"account": account, "path": "/users"}, {"delay_ms": ANSWERED_AFTER * 1_000})
    delivery = hour.publish(TOKEN, PEOPLE * FILES, FILES)
    hour.until(lambda: hour.members(delivery) > 0, END_WITHIN)
    for token in mine:
        hour.control("DELETE", f"/tokens/{token}", {"subcode": 460})


def mend(hour: Hour) -> None:
    """A person does what is asked for: the ones release by hand, the customer connects again."""
    hour.control("DELETE", "/faults")
    flag(hour, 200)
    for name in [FLAGGED_TOO, *(scenario.name for scenario in SCENARIOS if scenario.rests == "waiting")]:
        hour.release(name)
    hour.connect(TOKEN)


def lose_a_capability(hour: Hour) -> None:
    """Our app may not do it any more: everybody waits, without a call, until somebody says go on."""
    account = hour.connect(CAPABILITY)
    hour.connect(BYSTANDER)
    hour.script({"account": account, "path": "/users"}, {"code": 3})
    for name in (CAPABILITY, BYSTANDER):
        delivery = hour.publish(name)
        hour.until(lambda: hour.seen(delivery)["state"] in AT_REST, END_WITHIN)  # noqa: B023 -- used at once
        delivery.rested = hour.seen(delivery)
        delivery.calls_until_rest = hour.calls().get(delivery.rested["audience_id"], [])
    hour.control("DELETE", "/faults")
    for name in (CAPABILITY, BYSTANDER):
        hour.release(name)
        hour.until(lambda: hour.seen(hour.deliveries[name])["state"] in ENDED, END_WITHIN)  # noqa: B023 -- the same


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
