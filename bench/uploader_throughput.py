"""Records per second at a Meta whose every call takes a second: the uploader beside Meta's SDK in a loop.

With C calls in flight of 10,000 records each, C x 10,000 records/s is all there is to have: the figures are held
against that (`possible`) until the cores are busy; how busy they were is told below each, and the uploader's resident
memory: its peak beside the bound, and beside the highest of that tenth of the run in which it was lowest, which tells
whether it grows. The whole stack runs as processes, on all cores, with an emulator that only counts. The times are the
arrivals the emulator wrote down, from when every place can be open: an account begins with one call and doubles with
every answer, which takes a second each time and is the governor's doing. The SDK does what its users write: read
10,000 lines, `add_users`, the next 10,000.
"""

import json
import math
import tempfile
import time
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from facebook_business.adobjects.customaudience import CustomAudience
from facebook_business.api import FacebookAdsApi
from facebook_business.session import FacebookSession

from bench.measuring import Figure
from bench.people import write_people
from bench.request_body import SDK, SDK_SCHEMA, sdk_values
from bench.stack import Stack, running
from bench.watching import Cores, Resident
from schemas.events import MAX_CHUNK_RECORDS

LATENCY_SECONDS = 1.0
CONCURRENCIES = (4, 16, 64)
CALLS_PER_PLACE = 24
MOST_CALLS = 240
"""Enough that the beginning and the end weigh little; more of them only take longer once the cores are busy."""

FILE_RECORDS = 100_000
SDK_CALLS = 5
PATIENCE = 300.0
BOUND_MIB = 256.0
"""What the uploader may hold."""

VERSION = "v26.0"


def measure(
    *, concurrencies: Sequence[int] = CONCURRENCIES, calls_per_place: int = CALLS_PER_PLACE, sdk_calls: int = SDK_CALLS
) -> list[Figure]:
    """One figure per number of calls in flight."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        people = folder / "people.ndjson"
        write_people(people, FILE_RECORDS, seed=26)
        return [
            figure
            for places in concurrencies
            for figure in _figures(
                folder / f"stack-{places}", people, places, min(places * calls_per_place, MOST_CALLS), sdk_calls
            )
        ]


def _figures(home: Path, people: Path, places: int, calls: int, sdk_calls: int) -> list[Figure]:
    bounds = {"FBC_UPLOAD__CONCURRENCY": str(places), "FBC_UPLOAD__LANE_CONCURRENCY": str(places)}
    with running(home, "--emulator-keep", "counts", **bounds) as stack:
        account = stack.asked("dev", "seed")["ad_account"]["id"]
        stack.emulator("PUT", "/limits", {"latency_ms": LATENCY_SECONDS * 1_000})
        files = max(1, calls * MAX_CHUNK_RECORDS // FILE_RECORDS)
        with Cores() as cores, Resident(stack.parts()["uploader-1"]["pid"]) as resident:
            ours, window = _our_rate(stack, people, files, places)
        sdk = _sdk_rate(stack, people, account, sdk_calls)
    possible = places * MAX_CHUNK_RECORDS / LATENCY_SECONDS
    peaks = resident.peaks(*window)
    return [
        Figure(f"upload C={places}", "records/s", ours, {"possible": possible, SDK: sdk}),
        Figure(f"  cores busy C={places}", "%", 100 * cores.busy(*window), {}),
        Figure(f"  resident C={places}", "MiB", max(peaks), {"bound": BOUND_MIB, "lowest tenth": min(peaks)}),
    ]


def _our_rate(stack: Stack, people: Path, files: int, places: int) -> tuple[float, tuple[float, float]]:
    """Records per second of a delivery of so many files, once *places* calls can be in flight; from when to when."""
    wait = ("--wait", str(PATIENCE))
    ended = stack.asked("deliveries", "publish", *[str(people)] * files, *wait, timeout=PATIENCE + 60)
    calls = [call for call in stack.emulator("GET", "/calls") if call["rows"]]
    arrived = sorted(call["time"] for call in calls)
    accepted = ended["totals"]["accepted"]
    if accepted != files * FILE_RECORDS:
        raise RuntimeError(f"{accepted} of {files * FILE_RECORDS} records arrived: a figure of that says nothing")
    opening = (math.log2(places) + 1) * LATENCY_SECONDS
    return rate(arrived, opening) * accepted / len(arrived), (arrived[0] + opening, arrived[-1])


def rate(arrived: Sequence[float], opening: float) -> float:
    """Calls per second by their arrivals (sorted, seconds), without those of the *opening* seconds."""
    rest = [moment for moment in arrived if moment >= arrived[0] + opening]
    if len(rest) < 2:
        raise RuntimeError(f"{len(rest)} calls after the first {opening} s: a figure of that says nothing")
    return (len(rest) - 1) / (rest[-1] - rest[0])


def _sdk_rate(stack: Stack, people: Path, account: str, calls: int) -> float:
    """Meta's SDK, one call after the other, on the same file against the same emulator."""
    seed = stack.emulator("GET", "/seed")
    graph, FacebookSession.GRAPH = FacebookSession.GRAPH, stack.parts()["emulator"]["url"]
    session = FacebookSession(seed["app_id"], seed["app_secret"], seed["token"], timeout=60)
    try:
        api = FacebookAdsApi(session, VERSION)
        audience = _sdk_audience(api, account)
        with people.open(encoding="utf-8") as file:
            began = time.perf_counter()
            for _ in range(calls):
                users = [sdk_values(json.loads(line)) for line in islice(file, MAX_CHUNK_RECORDS)]
                audience.add_users(SDK_SCHEMA, users, is_raw=True)
            return calls * MAX_CHUNK_RECORDS / (time.perf_counter() - began)
    finally:
        FacebookSession.GRAPH = graph
        session.requests.close()


def _sdk_audience(api: FacebookAdsApi, account: str) -> Any:
    params = {"name": "Bench", "subtype": "CUSTOM", "customer_file_source": "USER_PROVIDED_ONLY"}
    made = api.call("POST", (account, "customaudiences"), params=params).json()
    return CustomAudience(made["id"], api=api)
