"""The script of the hour put on: customers connect and publish, Meta misbehaves, people mend what waits for them."""

import asyncio
import json
import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from cli import services
from cli.publishing import Request, publish_files
from cli.seed import connect
from schemas.events import Layout
from tests.faults.hour import SCENARIOS, Answer, Scenario
from tests.records import address, digest, people
from tests.stack import ENDED, Stack, http

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


def run(hour: Hour) -> None:
    """The script from the first publication to the last end."""
    seed = hour.control("GET", "/seed")["token"]
    hour.control("DELETE", f"/tokens/{seed}")  # so that each customer gets a token of its own
    begin_special_customers(hour)
    revoke_in_the_middle(hour)

    def begin(scenario: Scenario) -> None:
        account = hour.connect(scenario.name)
        for fault in scenario.faults(account):
            hour.control("POST", "/faults", fault)
        hour.publish(scenario.name, scenario.people, scenario.files)

    with ThreadPoolExecutor(PUBLISHERS) as publishers:
        list(publishers.map(begin, SCENARIOS))
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
