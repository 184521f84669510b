"""A seeded nemesis hurts the stack while deliveries run: complete, isolated, accounted, and duplicates stay bounded.

The suite runs a short version. `FBC_NEMESIS_RECORDS`, `FBC_NEMESIS_KILLS`, `FBC_NEMESIS_SECONDS` and `FBC_NEMESIS_SEED`
make it as long as wanted: 2000000, 20 and 60 are the figures the design is held to.
"""

import os
import random
import secrets
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pytest

from schemas.events import MAX_CHUNK_RECORDS
from tests.records import emails, people
from tests.stack import Stack, running

pytestmark = pytest.mark.timeout(1_200)

RECORDS = int(os.environ.get("FBC_NEMESIS_RECORDS", "480000"))
KILLS = int(os.environ.get("FBC_NEMESIS_KILLS", "3"))
SECONDS = float(os.environ.get("FBC_NEMESIS_SECONDS", "12"))
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


def published(stack: Stack, folder: Path, scenario: str) -> list[Delivery]:
    """One delivery for each customer, all at once; the people are the scenario's own."""
    accounts = stack.control("GET", "/seed")["ad_accounts"]
    for number, name in enumerate(CUSTOMERS):
        stack.seed(f"{scenario}-{name}", number + 1, accounts[number % len(accounts)])
    with ThreadPoolExecutor(len(CUSTOMERS)) as publishers:
        return list(publishers.map(lambda name: _published(stack, folder, f"{scenario}-{name}"), CUSTOMERS))


def _published(stack: Stack, folder: Path, customer: str) -> Delivery:
    records = RECORDS // len(CUSTOMERS)
    file = people(folder / f"{customer}.ndjson", customer, range(records))
    answer = stack.fbc("deliveries", "publish", str(file), "--profile", customer, "-o", "json")
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


def moving(stack: Stack, deliveries: list[Delivery]) -> bool:
    """Whether some delivery has not ended: what happens after that proves nothing."""
    states = [stack.show(delivery.revision)["state"] for delivery in deliveries]
    return any(state in {"accepted", "planning", "uploading"} for state in states)


def kill(stack: Stack, part: str) -> None:
    """Sends SIGKILL; the supervisor brings it back."""
    pid = stack.parts()[part]["pid"]
    if pid is not None:
        os.kill(pid, signal.SIGKILL)


class TestNemesis:
    def test_kills_at_random_points(self, stack: Stack, tmp_path: Path) -> None:
        """Killed again and again, a broker of three once: nothing is lost, at most what was in flight is repeated."""
        chance = random.Random(SEED)
        deliveries = published(stack, tmp_path, "kills")
        kills = 0
        while kills < KILLS and moving(stack, deliveries):
            time.sleep(chance.uniform(0.2, 1.5))
            kill(stack, "uploader-1")
            kills += 1
            if kills == KILLS // 2 + 1:
                kill(stack, f"kafka-{chance.randint(1, 3)}")
            _ready(stack, "uploader-1")
        repeated = held(stack, deliveries)

        assert kills >= min(KILLS, 2), "the deliveries were over before they could be hurt"
        assert 0 <= repeated <= kills * (CONCURRENCY + FINISHED_UNCOMMITTED) * MAX_CHUNK_RECORDS, f"seed {SEED}"

    def test_a_storm_of_rebalances(self, stack: Stack, tmp_path: Path) -> None:
        """One to four members and back, all the time: nothing lost, and what drains in time is not repeated."""
        chance = random.Random(SEED)
        deliveries = published(stack, tmp_path, "storm")
        changes = _until(time.monotonic() + SECONDS, lambda: _scale(stack, chance.choice((1, 2, 3, 4))))
        _scale(stack, 1)
        repeated = held(stack, deliveries)

        assert changes >= 2, "the storm was over before it began"
        assert 0 == repeated, f"seed {SEED}: {repeated} rows were sent again although every drain had time"

    def test_rolling_clean_restarts(self, stack: Stack, tmp_path: Path) -> None:
        """Stopped politely five times in the middle: it ends what it began, and not one row is sent twice."""
        deliveries = published(stack, tmp_path, "restarts")
        for _ in range(5):
            time.sleep(0.5)
            assert stack.fbc("dev", "restart", "uploader-1").code == 0

        assert 0 == held(stack, deliveries)


def _scale(stack: Stack, members: int) -> None:
    scaled = stack.fbc("dev", "scale", "uploader", str(members))
    assert scaled.code == 0, scaled.err


def _until(deadline: float, change: Callable[[], None]) -> int:
    """Changes until *deadline*; how often."""
    for times in count():
        if time.monotonic() >= deadline:
            return times
        change()
    raise AssertionError("unreachable")


def _ready(stack: Stack, part: str) -> None:
    deadline = time.monotonic() + 60
    while stack.parts()[part]["state"] != "ready":
        assert time.monotonic() < deadline, stack.logs()
        time.sleep(0.1)
