"""What one throttled ad account costs the others: their records per second while it is throttled, and without it.

Accounts are independent, so it should cost nothing; the design allows a tenth. The throttled account has as much to do
as each of the others. Meta refuses its every call and says to come back in twenty seconds: that is waited for in
memory, where it could take somebody's place. Places are few and calls slow, so that places are what there is to lose,
and not the cores. The time is the emulator's own, from the arrival of the others' first call to the answer of their
last.
"""

import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median

from bench.measuring import Figure
from bench.people import write_people
from bench.stack import Stack, running

OTHERS = 3
FILE_RECORDS = 100_000
PLACES = 4
LATENCY_SECONDS = 1.0
RETRY_AFTER = "20"
PATIENCE = 300.0
THROTTLED = "throttled"
ALONE = "without it"


def measure(*, others: int = OTHERS, files: int = 2, rounds: int = 2) -> list[Figure]:
    """Records per second of the others, all together."""
    with tempfile.TemporaryDirectory() as name:
        people = Path(name) / "people.ndjson"
        write_people(people, FILE_RECORDS, seed=26)
        with running(Path(name) / "stack", "--emulator-keep", "counts", FBC_UPLOAD__CONCURRENCY=str(PLACES)) as stack:
            customers = [f"customer-{number}" for number in range(others)]
            accounts = {customer: _connected(stack, customer) for customer in [*customers, THROTTLED]}
            stack.emulator("PUT", "/limits", {"latency_ms": LATENCY_SECONDS * 1_000})
            delivery = [str(people)] * files
            _rate(stack, accounts, customers, delivery)  # pools and connections are filled, and the accounts known
            alone = median(_rate(stack, accounts, customers, delivery) for _ in range(rounds))
            _throttle(stack, accounts[THROTTLED])
            waiting = stack.asked("deliveries", "publish", *delivery, "--profile", THROTTLED)["revision"]
            _planned(stack, waiting)
            beside = median(_rate(stack, accounts, customers, delivery) for _ in range(rounds))
            _was_throttled(stack, accounts[THROTTLED])
    return [Figure("one_throttled", "records/s", beside, {ALONE: alone})]


def _connected(stack: Stack, customer: str) -> str:
    """A customer with an ad account of its own: which one."""
    account = str(stack.emulator("POST", "/accounts", {})["id"])
    stack.fbc("dev", "seed", "--profile", customer, "--ad-account", account)
    return account


def _throttle(stack: Stack, account: str) -> None:
    headers = {"Retry-After": RETRY_AFTER, "x-business-use-case-usage": "{}"}
    answer = {"code": 80003, "subcode": 2446079, "headers": headers}
    stack.emulator(
        "POST", "/faults", {"match": {"account": account, "path": "/users"}, "times": None, "answer": answer}
    )


def _planned(stack: Stack, revision: int) -> None:
    """Waits until all of the delivery is with the uploader: cutting files costs the others, but is no throttle."""
    deadline = time.monotonic() + PATIENCE
    while stack.asked("deliveries", "show", str(revision))["state"] != "uploading":
        if time.monotonic() > deadline:
            raise RuntimeError("the throttled account's delivery was not planned")
        time.sleep(0.5)


def _rate(stack: Stack, accounts: dict[str, str], customers: list[str], delivery: list[str]) -> float:
    """Records per second of one delivery of each of *customers*, published together."""
    calls = stack.emulator("GET", "/calls")
    seen = calls[-1]["seq"]

    def delivered(customer: str) -> int:
        wait = ("--profile", customer, "--wait", str(PATIENCE))
        ended = stack.asked("deliveries", "publish", *delivery, *wait, timeout=PATIENCE + 60)
        return int(ended["totals"]["accepted"])

    with ThreadPoolExecutor(len(customers)) as publishers:
        accepted = sum(publishers.map(delivered, customers))
    if accepted != len(customers) * len(delivery) * FILE_RECORDS:
        raise RuntimeError(f"{accepted} records arrived and not all: a figure of that says nothing")
    theirs = {accounts[customer] for customer in customers}
    times = [
        call["time"]
        for call in stack.emulator("GET", f"/calls?since={seen}")
        if call["rows"] and call["account"] in theirs
    ]
    return float(accepted / (max(times) + LATENCY_SECONDS - min(times)))


def _was_throttled(stack: Stack, account: str) -> None:
    """Raises unless the account was called, and every time in vain: otherwise the figure is of something else."""
    calls = [call for call in stack.emulator("GET", "/calls") if call["account"] == account]
    codes = {call["code"] for call in calls if call["path"].endswith("/users")}
    if codes != {80003}:
        raise RuntimeError(f"the throttled account was answered with {sorted(map(str, codes))}")
