"""One stack for the system ring: every test uses its own profile, audience and revisions."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.stack import Stack, running


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The whole connector as processes, with an emulator that keeps rows for looking inside."""
    home = tmp_path_factory.mktemp("stack")
    with running(home, "--emulator-keep", "rows") as started:
        yield started


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where a test writes its files."""
    return tmp_path
