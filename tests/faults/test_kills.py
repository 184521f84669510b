"""kill -9 in the middle: the supervisor brings the process back, every valid record arrives, the sums agree."""

import os
import signal
from pathlib import Path

import pytest

from tests.records import emails, people
from tests.stack import Stack

pytestmark = pytest.mark.timeout(240)

PEOPLE = 200_000
MORE_PEOPLE = 800_000
"""A plan of so many takes seconds: its middle is hit however late anybody looks."""


def accounted(stack: Stack, revision: int, audience: str, people: int) -> None:
    """Ledger and emulator agree on every record."""
    totals = stack.show(revision)["totals"]
    assert {"records": people, "accepted": people, "invalid": 0, "rejected": 0, "waiting": 0, "dead": 0} == totals
    assert people == stack.members(audience)
    for first in range(0, people, PEOPLE):
        asked = emails("kill", range(first, first + PEOPLE))
        assert {"members": PEOPLE, "missing": []} == stack.control("POST", f"/audiences/{audience}/contains", asked)


class TestKilledUploader:
    def test_every_valid_record_arrives(self, stack: Stack, tmp_path: Path) -> None:
        """Killed in the middle of the file: what was in flight is sent again, nothing is lost or counted twice."""
        stack.seed("demo")
        stack.control("PUT", "/limits", {"latency_ms": 1_000})
        file = people(tmp_path / "k.ndjson", "kill", range(PEOPLE))
        revision = stack.fbc("deliveries", "publish", str(file), "-o", "json").json["revision"]
        killed = stack.until(revision, lambda delivery: delivery["totals"]["accepted"] > 0)
        assert killed["totals"]["accepted"] < PEOPLE, "the kill must hit the middle"
        pid = stack.parts()["uploader-1"]["pid"]

        os.kill(pid, signal.SIGKILL)

        ended = stack.ended(revision, within=120)
        assert "delivered" == ended["state"]
        assert pid != stack.parts()["uploader-1"]["pid"], "the supervisor brought it back"
        accounted(stack, revision, ended["audience_id"], PEOPLE)


class TestKilledIngest:
    def test_planning_resumes_and_every_valid_record_arrives(self, stack: Stack, tmp_path: Path) -> None:
        """Killed in the middle of planning; the plan goes on at its checkpoint."""
        stack.seed("demo")
        file = people(tmp_path / "k.ndjson", "kill", range(MORE_PEOPLE))
        pid = stack.parts()["ingest"]["pid"]
        revision = stack.fbc("deliveries", "publish", str(file), "-o", "json").json["revision"]
        planning = stack.until(revision, lambda delivery: delivery["totals"]["records"] > 0)

        os.kill(pid, signal.SIGKILL)

        assert planning["totals"]["records"] < MORE_PEOPLE, "the kill must hit the middle"
        ended = stack.ended(revision, within=120)
        assert "delivered" == ended["state"]
        assert pid != stack.parts()["ingest"]["pid"], "the supervisor brought it back"
        accounted(stack, revision, ended["audience_id"], MORE_PEOPLE)
