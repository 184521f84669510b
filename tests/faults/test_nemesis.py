"""A seeded nemesis hurts the stack while deliveries run: complete, isolated, accounted, and duplicates stay bounded.

The suite runs a short version. `FBC_NEMESIS_RECORDS`, `FBC_NEMESIS_KILLS`, `FBC_NEMESIS_SECONDS` and `FBC_NEMESIS_SEED`
make it as long as wanted: 2000000, 20 and 60 are the figures the design is held to. Each blow falls while records are
under way, as the ledger tells at that moment: where none are, more are published, however fast the machine is.
"""

import os
import random
import secrets
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from schemas.events import MAX_CHUNK_RECORDS
from tests.records import emails, people
from tests.stack import ENDED, Stack, running

pytestmark = pytest.mark.timeout(1_200)

RECORDS = int(os.environ.get("FBC_NEMESIS_RECORDS", "360000"))
KILLS = int(os.environ.get("FBC_NEMESIS_KILLS", "3"))
SECONDS = float(os.environ.get("FBC_NEMESIS_SECONDS", "0"))
CHANGES = 4
"""How often the number of members changes at least, however few seconds the storm is to last."""
RESTARTS = 5
SEED = int(os.environ.get("FBC_NEMESIS_SEED", "0")) or secrets.randbelow(1 << 32)

CUSTOMERS = ("north", "south", "west")
CONCURRENCY = 4
LATENCY_MS = 1_000
FINISHED_UNCOMMITTED = 4
"""Chunks that may have finished since the last commit: it follows a completion at once, and takes a moment itself."""

PATIENCE = 600.0
ASKED_AT_ONCE = 100_000


@dataclass(frozen=True)
class Delivery:
    """A customer's delivery under way: *records* people who belong in this audience and no other."""

    customer: str
    revision: int
    records: int


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Three brokers, one uploader; Meta takes its time, so that there is always something in flight to be hurt."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FBC_UPLOAD__CONCURRENCY", str(CONCURRENCY))
        patch.setenv("FBC_KAFKA__SESSION_TIMEOUT", "6")
        with running(tmp_path_factory.mktemp("nemesis"), "--nodes", "3") as started:
            started.control("PUT", "/limits", {"latency_ms": LATENCY_MS})
            yield started


class Traffic:
    """Deliveries of three customers at a time, and more of them as soon as none is under way."""

    def __init__(self, stack: Stack, folder: Path, scenario: str) -> None:
        self._stack = stack
        self._folder = folder
        self._scenario = scenario
        self._rounds = 0
        self.deliveries: list[Delivery] = []

    def flows(self) -> None:
        """Chunks are being uploaded when this returns: a blow against an idle stack would prove nothing."""
        deadline = time.monotonic() + PATIENCE
        while "uploading" not in (states := self._states()):
            if states <= ENDED:
                self._publish()
            assert time.monotonic() < deadline, f"nothing was uploaded\n{self._stack.logs()}"
            time.sleep(0.1)

    def _states(self) -> set[str]:
        """Those of the last deliveries: when they were published, all before them had ended."""
        return {self._stack.show(delivery.revision)["state"] for delivery in self.deliveries[-len(CUSTOMERS) :]}

    def _publish(self) -> None:
        """One delivery for each customer, all at once; the people are this round's own."""
        self._rounds += 1
        accounts = self._stack.control("GET", "/seed")["ad_accounts"]
        names = [f"{self._scenario}-{self._rounds}-{customer}" for customer in CUSTOMERS]
        for number, name in enumerate(names):
            self._stack.seed(name, number + 1, accounts[number % len(accounts)])
        with ThreadPoolExecutor(len(names)) as publishers:
            self.deliveries += publishers.map(self._published, names)

    def _published(self, customer: str) -> Delivery:
        records = RECORDS // len(CUSTOMERS)
        file = people(self._folder / f"{customer}.ndjson", customer, range(records))
        answer = self._stack.fbc("deliveries", "publish", str(file), "--profile", customer, "-o", "json")
        assert answer.code == 0, answer.err
        return Delivery(customer, answer.json["revision"], records)


def held(stack: Stack, deliveries: list[Delivery]) -> int:
    """Checks every promise of the deliveries once they ended; how many rows were sent more than once."""
    sent = 0
    for delivery in deliveries:
        ended = stack.ended(delivery.revision, within=PATIENCE)
        expected = {"records": delivery.records, "accepted": delivery.records} | dict.fromkeys(
            ("invalid", "rejected", "waiting", "dead"), 0
        )
        assert ("delivered", expected) == (ended["state"], ended["totals"]), f"seed {SEED}\n{stack.logs()}"
        audience = ended["audience_id"]
        # As many members as people, and all of them: so there is no stranger among them.
        assert delivery.records == stack.members(audience), f"seed {SEED}"
        for first in range(0, delivery.records, ASKED_AT_ONCE):
            numbers = range(first, min(first + ASKED_AT_ONCE, delivery.records))
            asked = emails(delivery.customer, numbers)
            assert {"members": len(numbers), "missing": []} == stack.control(
                "POST", f"/audiences/{audience}/contains", asked
            ), f"seed {SEED}"
        calls = stack.control("GET", "/calls")
        sent += sum(call["rows"] for call in calls if call["audience"] == audience and call["status"] == 200)
    return sent - sum(delivery.records for delivery in deliveries)


def kill(stack: Stack, part: str) -> None:
    """Sends SIGKILL; the supervisor brings it back."""
    pid = stack.parts()[part]["pid"]
    if pid is not None:
        os.kill(pid, signal.SIGKILL)


class TestNemesis:
    def test_kills_at_random_points(self, stack: Stack, tmp_path: Path) -> None:
        """Killed again and again, a broker of three once: nothing is lost, at most what was in flight is repeated."""
        chance = random.Random(SEED)
        traffic = Traffic(stack, tmp_path, "kills")
        for number in range(KILLS):
            time.sleep(chance.uniform(0.2, 1.5))
            traffic.flows()
            kill(stack, "uploader-1")
            if number == KILLS // 2:
                kill(stack, f"kafka-{chance.randint(1, 3)}")
            _ready(stack, "uploader-1")
        repeated = held(stack, traffic.deliveries)

        assert 0 <= repeated <= KILLS * (CONCURRENCY + FINISHED_UNCOMMITTED) * MAX_CHUNK_RECORDS, f"seed {SEED}"

    def test_a_storm_of_rebalances(self, stack: Stack, tmp_path: Path) -> None:
        """One to four members and back, all the time: nothing lost, and what drains in time is not repeated."""
        chance = random.Random(SEED)
        traffic = Traffic(stack, tmp_path, "storm")
        until = time.monotonic() + SECONDS
        members, changes = 1, 0
        while changes < CHANGES or time.monotonic() < until:
            traffic.flows()
            members = chance.choice([other for other in (1, 2, 3, 4) if other != members])
            _scale(stack, members)
            changes += 1
        _scale(stack, 1)
        repeated = held(stack, traffic.deliveries)

        assert 0 == repeated, f"seed {SEED}: {repeated} rows were sent again although every drain had time"

    def test_rolling_clean_restarts(self, stack: Stack, tmp_path: Path) -> None:
        """Stopped politely five times in the middle: it ends what it began, and not one row is sent twice."""
        traffic = Traffic(stack, tmp_path, "restarts")
        for _ in range(RESTARTS):
            time.sleep(0.5)
            traffic.flows()
            assert stack.fbc("dev", "restart", "uploader-1").code == 0

        assert 0 == held(stack, traffic.deliveries)


def _scale(stack: Stack, members: int) -> None:
    scaled = stack.fbc("dev", "scale", "uploader", str(members))
    assert scaled.code == 0, scaled.err


def _ready(stack: Stack, part: str) -> None:
    deadline = time.monotonic() + 60
    while stack.parts()[part]["state"] != "ready":
        assert time.monotonic() < deadline, stack.logs()
        time.sleep(0.1)
