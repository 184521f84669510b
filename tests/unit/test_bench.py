"""The benchmark measures what it says: both contenders do the whole job on the same people."""

import json
import os
import sys
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from subprocess import run

import pytest

from bench import customers_body
from bench.customers import COLUMNS
from bench.customers_body import FLOOR, FORMS, blocks_of, sdk_body
from bench.measuring import Figure, seconds
from bench.people import people, write_people
from bench.request_body import SDK, SDK_SCHEMA, measure, our_bodies, sdk_bodies
from bench.uploader_throughput import rate
from bench.watching import Resident, highest
from connector.audience.layouts import reading_of
from connector.audience.prepare import prepare
from connector.audience.records_ndjson import read_ndjson
from schemas.events import Layout


@pytest.fixture
def file(tmp_path: Path) -> Path:
    write_people(tmp_path / "people.ndjson", 300, seed=1)
    return tmp_path / "people.ndjson"


class TestPeople:
    def test_same_seed_same_people(self) -> None:
        """A seed names one file for ever; another seed another."""
        assert list(people(50, seed=1)) == list(people(50, seed=1))
        assert list(people(50, seed=1)) != list(people(50, seed=2))

    def test_every_one_can_be_matched(self, file: Path) -> None:
        """The people are valid, so that a figure is one of delivering, not of refusing."""
        reading = reading_of(Layout.NARRATIVE_DATASET)
        prepared = prepare(read_ndjson(file.read_bytes(), reading, first_record=1, first_line=1), reading)
        assert (300, {}, {}) == (prepared.sent, prepared.rejects.counts, prepared.cell_rejects)


class TestRequestBody:
    def test_contenders_agree_where_the_sdk_is_right(self, file: Path) -> None:
        """Both make a row per person, with the same gender, day and plain family names, and ours repairs the rest."""
        ours, theirs = (json.loads(b"".join(bodies(file))) for bodies in (our_bodies, sdk_bodies))
        assert SDK_SCHEMA == ours["schema"] == theirs["schema"]
        assert 300 == len(ours["data"]) == len(theirs["data"])
        empty = sha256(b"").hexdigest()
        days = SDK_SCHEMA.index("DOBD")
        assert [row[days] or empty for row in ours["data"]] == [row[days] for row in theirs["data"]]

    def test_figure(self) -> None:
        """A measurement has a positive figure for both and the ratio between them."""
        (figure,) = measure(records=200, rounds=1)
        assert figure.ours > 0
        assert figure.as_json()["ratio"] == {SDK: round(figure.ours / figure.peers[SDK], 2)}


class TestRate:
    def test_the_opening_does_not_count(self) -> None:
        """Calls per second once all places are open; two calls are the least that make a rate."""
        opening = [0.0, 1.0, 1.5]
        assert 4.0 == rate([*opening, 2.0, 2.25, 2.5, 2.75], 2.0)
        with pytest.raises(RuntimeError, match="1 calls"):
            rate([*opening, 2.0], 2.0)


class TestResident:
    def test_highest_of_each_tenth(self) -> None:
        """Every look is in one of ten parts, of which each has about as many."""
        assert [1.0, 3.0, 5.0, 7.0, 9.0, 11.0, 13.0, 15.0, 17.0, 19.0] == highest([float(n) for n in range(20)])
        assert [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 12.0] == highest([*map(float, range(9)), 9.0, 12.0])

    def test_it_is_that_of_the_process(self) -> None:
        """What a process takes is seen; too few looks are no figure."""
        began = time.time()
        with Resident(os.getpid()) as resident:
            _until(lambda: len(resident.seen(began, time.time(), least=0)) >= 2)
            before = time.time()
            taken = b"x" * (64 << 20)
            held = time.time()
            _until(lambda: len(resident.seen(held, time.time(), least=0)) >= 2)
        assert len(taken) == 64 << 20
        assert max(resident.seen(held, time.time())) > min(resident.seen(began, before)) + 32
        with pytest.raises(RuntimeError, match="looks of Resident"):
            resident.peaks(began - 2, began - 1)


def _until(there: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not there():
        assert time.monotonic() < deadline
        time.sleep(0.01)


class TestCustomersBody:
    def test_every_format_gives_the_same_rows(self, tmp_path: Path) -> None:
        """The same people leave the same way from NDJSON, CSV and Parquet, and the SDK agrees where it is right."""
        bodies = []
        for form in FORMS:
            folder = tmp_path / form.name
            folder.mkdir()
            (block,) = blocks_of(form, folder, 300, seed=1)
            (pieces,) = form.bodies(block)
            body = b"".join(pieces)
            bodies.append(body)
            theirs = json.loads(sdk_body(form.people(block)))
            ours = json.loads(body)
            assert list(COLUMNS) == ours["schema"]
            emails = COLUMNS.index("EMAIL")
            assert [row[emails] for row in ours["data"]] == [row[emails] for row in theirs["data"]]
        assert 1 == len(set(bodies))

    def test_figures(self) -> None:
        """There is a figure for each format, with the SDK and the floor beside it."""
        figures = customers_body.measure(records=200, rounds=1)
        assert ["customers_ndjson", "customers_csv", "customers_parquet"] == [figure.name for figure in figures]
        assert all({SDK, FLOOR} == set(figure.ratio) for figure in figures)


class TestMeasuring:
    def test_contenders_take_turns(self) -> None:
        """Each round runs every contender once; the first round only warms up."""
        calls: list[str] = []
        taken = seconds({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, rounds=2)
        assert ["a", "b"] * 3 == calls
        assert {"a", "b"} == set(taken)

    def test_ratio(self) -> None:
        """The ratio says how many times the peer's figure ours is."""
        assert {"peer": 2.5} == Figure("x", "1/s", 5.0, {"peer": 2.0}).ratio


class TestCommand:
    def test_unknown_name(self) -> None:
        """A name that is no benchmark is refused with the names there are."""
        done = run([sys.executable, "-m", "bench", "nonsense"], capture_output=True, text=True, check=False, timeout=60)
        assert 2 == done.returncode
        assert "request_body" in done.stderr
