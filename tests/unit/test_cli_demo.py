"""The demo's own arithmetic: its people are known beforehand, and a sum that is off is seen."""

import dataclasses
import json
from pathlib import Path

import pytest

from cli.demo import Outcome, count_records, sums
from cli.people import Generated, write_people

GENERATED = Generated(records=100, malformed=2, without_identifier=1)
GOOD = Outcome(
    state="delivered",
    revision=1,
    audience_id="1",
    totals={"records": 100, "accepted": 97, "invalid": 0, "rejected": 3, "waiting": 0, "dead": 0},
    members=97,
    calls=1,
    rows_received=97,
    seconds=1.0,
)


def failed(outcome: Outcome) -> list[str]:
    """The names of the checks that are off."""
    return [check.name for check in sums(outcome, 100, GENERATED) if not check.ok]


class TestSums:
    def test_a_good_delivery_passes_every_check(self) -> None:
        """Six sums agree."""
        assert [] == failed(GOOD)
        assert 6 == len(sums(GOOD, 100, GENERATED))

    @pytest.mark.parametrize(
        "change",
        [
            {"state": "partly_delivered"},
            {"members": 96},
            {"rows_received": 96},
            {"totals": {**GOOD.totals, "records": 99}},
            {"totals": {**GOOD.totals, "rejected": 4}},
            {"totals": {**GOOD.totals, "dead": 1}},
            {"totals": {**GOOD.totals, "accepted": 0, "rejected": 100}, "rows_received": 0, "members": 0},
        ],
        ids=["state", "members", "rows", "records", "rejected", "dead", "nothing"],
    )
    def test_whatever_is_off_is_seen(self, change: dict[str, object]) -> None:
        """Each number of the table is checked against another one."""
        assert failed(dataclasses.replace(GOOD, **change))  # type: ignore[arg-type]


class TestPeople:
    def test_the_same_seed_writes_the_same_file(self, tmp_path: Path) -> None:
        """A demonstration can be repeated to the byte."""
        write_people(tmp_path / "a", 500)
        write_people(tmp_path / "b", 500)

        assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()

    def test_what_was_written_is_what_was_said(self, tmp_path: Path) -> None:
        """Malformed and nameless records are counted as they lie in the file."""
        generated = write_people(tmp_path / "p", 100_000)

        lines = (tmp_path / "p").read_bytes().splitlines()
        malformed = nameless = 0
        for line in lines:
            try:
                nameless += "unique_id" not in json.loads(line)
            except ValueError:
                malformed += 1
        assert Generated(len(lines), malformed, nameless) == generated
        assert generated.valid == generated.records - malformed - nameless
        assert 100_000 == count_records(tmp_path / "p")

    def test_everybody_is_somebody_else(self, tmp_path: Path) -> None:
        """Members can only equal accepted records if nobody is in the file twice."""
        write_people(tmp_path / "p", 2_000)

        people = [json.loads(line)["unique_id"]["value"].lower() for line in (tmp_path / "p").read_bytes().splitlines()]
        assert 2_000 == len(set(people))

    def test_blank_lines_are_not_records(self, tmp_path: Path) -> None:
        """The demo's own count follows the same rule as the planner's."""
        (tmp_path / "p").write_bytes(b"{}\n\n  \n{}")

        assert 2 == count_records(tmp_path / "p")
