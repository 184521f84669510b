"""`fbc demo`, as `make demo` runs it: from nothing to a table whose sums agree, and nothing left running."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.records import people
from tests.stack import Stack

pytestmark = pytest.mark.timeout(240)


class TestDemo:
    def test_the_demo_delivers_and_every_sum_agrees(self, tmp_path: Path) -> None:
        """Exit code 0, the same table as JSON, and no part is running afterwards."""
        stack = Stack(tmp_path / "home")

        ended = stack.fbc("demo", "--people", "60000", timeout=200)

        assert 0 == ended.code, ended.out + ended.err
        result = json.loads((stack.home / "demo.json").read_text())
        assert 60_000 == result["totals"]["records"]
        assert result["totals"]["accepted"] == result["members"]
        assert all(check["ok"] for check in result["checks"])
        assert 6 == len(result["checks"])
        assert {} == stack.parts()

    def test_the_demo_takes_a_file_of_ones_own(self, tmp_path: Path) -> None:
        """`make demo FILE=people.ndjson`."""
        stack = Stack(tmp_path / "home")
        file = people(tmp_path / "own.ndjson", "own", range(1_234))

        ended = stack.fbc("demo", "--file", str(file), timeout=200)

        assert 0 == ended.code, ended.out + ended.err
        assert 1_234 == json.loads((stack.home / "demo.json").read_text())["members"]


class TestDoorway:
    def test_make_alone_lists_the_targets(self) -> None:
        """The newcomer's first command answers with what there is."""
        listed = subprocess.run(
            ["make"], check=True, capture_output=True, text=True, cwd=Path(__file__).parents[2]
        ).stdout

        assert {"setup", "demo", "test", "lint", "types", "bench", "docs", "up", "down"} <= set(listed.split())
