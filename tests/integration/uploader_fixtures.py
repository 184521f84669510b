"""Fixtures of the tests of the uploader and of the Graph client.

A plugin: a test module says `pytest_plugins = ("tests.integration.uploader_fixtures",)`.
"""

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.integration.auth_parts import Emulator, running
from tests.integration.uploader_parts import Bench, put_together


@pytest.fixture(scope="session")
def graph_emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    """The Graph API emulator as a process."""
    log = tmp_path_factory.mktemp("graph-emulator") / "emulator.log"
    with running(["emulator", "--keep", "digests"], log, {}) as child:
        assert child.stdout is not None
        ready = json.loads(child.stdout.readline() or b"{}")
        assert ready, log.read_text()
        found = Emulator(ready["graph"], ready["control"])
        found.seed = found.tell("GET", "/seed")
        yield found


@pytest.fixture
async def bench(graph_emulator: Emulator, tmp_path: Path) -> AsyncIterator[Bench]:
    """An uploader on an audience of its own."""
    async with put_together(graph_emulator, tmp_path) as found:
        yield found
